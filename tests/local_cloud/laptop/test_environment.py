from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from local_cloud.laptop.environment import (
    airflow_environment,
    base_environment,
    cloud_environment,
    shell_lines,
)
from local_cloud.laptop.processes import MARK
from local_cloud.laptop.settings import StackSettings

CLOUD = {
    "vertex_url": "http://127.0.0.1:1111",
    "storage_url": "http://127.0.0.1:2222",
    "credentials_path": "/state/it's here/credentials.json",
    "project": "local-dev",
}


@pytest.fixture
def settings(tmp_path: Path) -> StackSettings:
    return StackSettings(root=tmp_path, state_dir=tmp_path / "state", extra_env={"GEMINI_TUNING_INCLUDE": "/i"})


@pytest.mark.parametrize(
    "name",
    [
        "AIRFLOW_HOME",
        "AIRFLOW__CORE__DAGS_FOLDER",
        "AIRFLOW_CONN_GOOGLE_CLOUD_DEFAULT",
        "GOOGLE_APPLICATION_CREDENTIALS",
        "GOOGLE_CLOUD_PROJECT",
        "STORAGE_EMULATOR_HOST",
        "HTTPS_PROXY",
        "PYTHONPATH",
        "VIRTUAL_ENV",
        "SOMETHING_ELSE",
    ],
)
def test_nothing_of_the_users_own_reaches_airflow(
    monkeypatch: pytest.MonkeyPatch, settings: StackSettings, name: str
) -> None:
    monkeypatch.setenv(name, "the user's own")
    assert airflow_environment(settings, CLOUD).get(name) != "the user's own"


def test_the_home_directory_is_not_the_users(monkeypatch: pytest.MonkeyPatch, settings: StackSettings) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    assert base_environment(settings)["HOME"] == str(settings.home)


def test_every_process_carries_the_mark_and_keeps_it_readable(settings: StackSettings) -> None:
    for environment in (cloud_environment(settings), airflow_environment(settings, CLOUD)):
        assert environment[MARK] == str(settings.state_dir)
        assert environment["SPT_NOENV"]


def test_airflow_reaches_the_local_cloud_through_its_connection_and_base_urls(settings: StackSettings) -> None:
    environment = airflow_environment(settings, CLOUD)
    assert json.loads(environment["AIRFLOW_CONN_GOOGLE_CLOUD_DEFAULT"]) == {
        "conn_type": "google_cloud_platform",
        "extra": {"key_path": CLOUD["credentials_path"], "project": "local-dev"},
    }
    assert environment["GOOGLE_VERTEX_BASE_URL"] == CLOUD["vertex_url"]
    assert environment["STORAGE_EMULATOR_HOST"] == CLOUD["storage_url"]
    assert environment["GEMINI_TUNING_INCLUDE"] == "/i"


def test_nothing_but_loopback_can_be_reached_by_http(settings: StackSettings) -> None:
    script = (
        "import httpx, requests\n"
        "for get in (httpx.get, requests.get):\n"
        "    for url in ('https://iamcredentials.googleapis.com/', 'http://metadata.google.internal/'):\n"
        "        try: get(url, timeout=5); raise SystemExit(f'{url} was reached')\n"
        "        except (httpx.TransportError, requests.ConnectionError) as error: print(error)"
    )
    environment = airflow_environment(settings, CLOUD)
    said = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert said.stdout.count("refused") == 4


def test_only_the_local_cloud_may_import_from_include(settings: StackSettings) -> None:
    assert Path(cloud_environment(settings)["PYTHONPATH"], "local_cloud").is_dir()
    assert "PYTHONPATH" not in airflow_environment(settings, CLOUD)


def test_a_shell_that_reads_the_lines_has_the_variables(settings: StackSettings, tmp_path: Path) -> None:
    file = tmp_path / "env"
    file.write_text(shell_lines(settings, CLOUD))
    script = (
        f'. {file}; printf "%s\\n" "$AIRFLOW_HOME" "$GOOGLE_APPLICATION_CREDENTIALS" "$NO_PROXY" "$HTTPS_PROXY" "$PATH"'
    )
    own = {"PATH": "/bin", "HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": "intranet"}
    said = subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True, check=True, env=own)
    home, credentials, direct, proxy, path = said.stdout.splitlines()
    assert (home, credentials) == (str(settings.airflow_home), CLOUD["credentials_path"])
    assert (direct, proxy) == ("127.0.0.1,localhost,intranet", "http://proxy:3128")
    assert path.endswith(":/bin")
