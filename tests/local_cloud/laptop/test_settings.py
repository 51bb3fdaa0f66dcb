from __future__ import annotations

from pathlib import Path

import pytest

from local_cloud.laptop.settings import PROJECT_ROOT, StackSettings, pipeline_buckets, project_settings


def test_settings_survive_the_way_to_the_supervisor(tmp_path: Path) -> None:
    settings = StackSettings(
        root=tmp_path,
        state_dir=tmp_path / "a folder",
        dags_folder=tmp_path / "dags elsewhere",
        buckets=("one", "two"),
        extra_env={"KEY": 'a "quoted" value'},
        cloud_options=("--pending-seconds", "0"),
    )
    assert StackSettings.from_json(settings.to_json()) == settings


def test_dags_and_plugins_are_the_projects_unless_named(tmp_path: Path) -> None:
    settings = StackSettings(root=tmp_path, state_dir=tmp_path / "state", plugins_folder=tmp_path / "p")
    assert (settings.dags, settings.plugins) == (tmp_path / "dags", tmp_path / "p")


def test_everything_a_stack_writes_lies_in_its_state_folder(tmp_path: Path) -> None:
    settings = StackSettings(root=tmp_path / "project", state_dir=tmp_path / "state")
    written = [settings.home, settings.airflow_home, settings.cloud_dir, settings.logs, settings.passwords_file]
    written += [settings.state_file, settings.lock_file, settings.env_file]
    assert all(path.is_relative_to(settings.state_dir) for path in written)


def test_a_laptop_has_the_buckets_that_the_pipelines_name(tmp_path: Path) -> None:
    folder = tmp_path / "include" / "pipelines"
    folder.mkdir(parents=True)
    (folder / "a.yaml").write_text("name: a\nbucket: first\n")
    (folder / "b.yml").write_text("storage:\n  - {bucket: second}\n  - {bucket: first}\n")
    (folder / "broken.yaml").write_text("bucket: [never closed\n")
    (folder / "number.yaml").write_text("bucket: 7\n")
    assert pipeline_buckets(tmp_path) == ("first", "second")


def test_without_pipelines_there_is_still_a_bucket(tmp_path: Path) -> None:
    assert len(project_settings(tmp_path).buckets) == 1


@pytest.mark.parametrize("part", ["dags", "plugins", "include/local_cloud"])
def test_the_project_root_is_found_from_the_package(part: str) -> None:
    assert (PROJECT_ROOT / part).is_dir()
