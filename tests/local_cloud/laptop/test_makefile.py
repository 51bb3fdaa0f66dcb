from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from local_cloud.laptop.settings import PROJECT_ROOT

MAKEFILE = PROJECT_ROOT / "Makefile"


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A folder with the Makefile and the files it depends on, not set up yet."""
    shutil.copy(MAKEFILE, tmp_path)
    for name in ("requirements.lock", "requirements-dev.lock", "pyproject.toml"):
        (tmp_path / name).touch()
    return tmp_path


def _make(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", "--no-print-directory", *arguments],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "HOME": str(folder)} | environment,
        capture_output=True,
        text=True,
    )


def _set_up(clone: Path) -> None:
    """What a finished set-up leaves: newer than all it was made from."""
    (clone / ".venv" / "bin").mkdir(parents=True)
    (clone / ".venv" / "bin" / "uv").touch()
    (clone / ".venv" / ".installed").touch()


def test_without_a_target_every_target_is_explained(clone: Path) -> None:
    said = _make(clone)
    phony = re.search(r"^\.PHONY: (.*)$", MAKEFILE.read_text(), re.MULTILINE)
    assert phony
    explained = re.findall(r"^  make (\S+) +\S", said.stdout, re.MULTILINE)
    assert sorted(explained) == sorted(phony.group(1).split())
    assert {"setup", "demo", "demo-rejected", "up", "down", "test", "lint", "clean", "lock"} <= set(explained)


@pytest.mark.parametrize("target", ["setup", "demo", "demo-rejected", "up", "lint", "test"])
def test_targets_set_up_what_they_need_first(clone: Path, target: str) -> None:
    assert "-m venv .venv" in _make(clone, "-n", target).stdout


@pytest.mark.parametrize("target", ["setup", "demo", "demo-rejected", "up", "lint", "test"])
def test_a_second_time_nothing_is_installed(clone: Path, target: str) -> None:
    _set_up(clone)
    said = _make(clone, "-n", target).stdout
    assert "venv .venv" not in said
    assert "pip install" not in said


@pytest.mark.parametrize("changed", ["requirements.lock", "requirements-dev.lock", "pyproject.toml"])
def test_a_changed_lock_is_installed(clone: Path, changed: str) -> None:
    _set_up(clone)
    later = (clone / ".venv" / ".installed").stat().st_mtime + 10
    os.utime(clone / changed, (later, later))
    said = _make(clone, "-n", "demo").stdout
    assert "-m venv" not in said
    assert "uv pip install" in said


def test_a_wrong_python_is_refused_with_a_sentence(clone: Path) -> None:
    python = clone / "python3.9"
    python.write_text("#!/bin/sh\nexit 1\n")
    python.chmod(0o755)
    said = _make(clone, "setup", f"PYTHON={python}")
    assert said.returncode != 0
    assert f"Python 3.11 is needed, and '{python}' is not it" in said.stderr
    assert not (clone / ".venv").exists()


def test_without_any_python_the_sentence_names_what_to_install(clone: Path) -> None:
    tools = clone / "tools"
    tools.mkdir()
    for name in ("make", "date", "awk", "sh"):
        found = shutil.which(name)
        assert found
        (tools / name).symlink_to(found)
    said = _make(clone, "setup", PATH=str(tools))
    assert said.returncode != 0
    assert "Python 3.11 is needed" in said.stderr


def test_variables_of_the_callers_shell_do_not_reach_the_recipes(clone: Path) -> None:
    (clone / "show.mk").write_text("show:\n\t@env\n")
    leaks = {
        "PYTHONPATH": "x",
        "PYTHONDONTWRITEBYTECODE": "1",
        "VIRTUAL_ENV": "x",
        "AIRFLOW_HOME": "x",
        "AIRFLOW__CORE__DAGS_FOLDER": "x",
        "GOOGLE_APPLICATION_CREDENTIALS": "x",
        "STORAGE_EMULATOR_HOST": "x",
        "GEMINI_TUNING_INCLUDE": "x",
    }
    said = _make(clone, "-f", "Makefile", "-f", "show.mk", "show", KEPT="x", **leaks).stdout
    names = {line.split("=", 1)[0] for line in said.splitlines()}
    assert "KEPT" in names
    assert names.isdisjoint(leaks)


def test_clean_takes_what_was_made_and_leaves_what_is_yours(clone: Path) -> None:
    made = [".venv/.installed", ".local/stack.json", "plugins/gemini_tuning.egg-info/PKG-INFO", ".coverage"]
    made += [".mypy_cache/x", "dags/__pycache__/a.pyc", ".coverage.host.1"]
    yours = ["include/pipelines/mine.yaml", "dags/mine.py", "notes.txt", ".git/objects/__pycache__/keep", ".env"]
    for name in made + yours:
        path = clone / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    before = {"Makefile", "requirements.lock", "requirements-dev.lock", "pyproject.toml"}
    assert _make(clone, "clean").returncode == 0
    left = {str(path.relative_to(clone)) for path in clone.rglob("*") if path.is_file()}
    assert left == before | set(yours)


def test_down_before_any_set_up_says_that_nothing_runs(clone: Path) -> None:
    said = _make(clone, "down")
    assert (said.returncode, said.stdout) == (0, "Nothing was running.\n")


def test_no_registry_is_named() -> None:
    assert re.search(r"https?://|index-url|find-links", MAKEFILE.read_text()) is None


def test_the_python_that_is_found_by_itself_is_the_tested_one(clone: Path) -> None:
    folder = str(Path(sys.base_prefix) / "bin")
    said = _make(clone, "-n", "setup", PATH=f"{folder}:{os.environ['PATH']}")
    assert re.search(r"^python3?(\.11)? -m venv", said.stdout, re.MULTILINE)
