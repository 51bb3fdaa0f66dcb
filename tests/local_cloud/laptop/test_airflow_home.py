from __future__ import annotations

import configparser
import contextlib
import json
import sqlite3
import stat
from importlib.metadata import version
from pathlib import Path

import pytest

from local_cloud.laptop import airflow_home
from local_cloud.laptop.settings import StackSettings


@pytest.fixture
def settings(tmp_path: Path) -> StackSettings:
    settings = StackSettings(root=tmp_path / "100% project", state_dir=tmp_path / "state")
    airflow_home.prepare(settings, port=4321)
    return settings


def _configuration(settings: StackSettings) -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(settings.airflow_home / "airflow.cfg")
    return parser


@pytest.mark.parametrize("name", ["airflow.cfg", "keys.json", "passwords.json"])
def test_files_with_secrets_are_the_owners_alone(settings: StackSettings, name: str) -> None:
    assert stat.S_IMODE((settings.airflow_home / name).stat().st_mode) == 0o600


def test_keys_and_password_stay_the_same_from_start_to_start(settings: StackSettings) -> None:
    before, password = _configuration(settings), airflow_home.password(settings)
    airflow_home.prepare(settings, port=5432)
    after = _configuration(settings)
    for section, key in (("core", "fernet_key"), ("api_auth", "jwt_secret"), ("api", "secret_key")):
        assert len(before[section][key]) > 40
        assert after[section][key] == before[section][key]
    assert airflow_home.password(settings) == password
    assert after["api"]["port"] == "5432"


def test_two_installations_share_no_secret(settings: StackSettings, tmp_path: Path) -> None:
    other = StackSettings(root=tmp_path, state_dir=tmp_path / "other")
    airflow_home.prepare(other, port=1)
    assert airflow_home.password(other) != airflow_home.password(settings)
    assert _configuration(other)["core"]["fernet_key"] != _configuration(settings)["core"]["fernet_key"]


def test_airflow_reads_the_password_it_is_given(settings: StackSettings) -> None:
    configured = _configuration(settings)["core"]["simple_auth_manager_passwords_file"]
    assert json.loads(Path(configured).read_text()) == {"admin": airflow_home.password(settings)}


def test_addresses_are_loopback_and_paths_may_hold_a_percent_sign(settings: StackSettings) -> None:
    configuration = _configuration(settings)
    assert configuration["api"]["host"] == "127.0.0.1"
    assert configuration["api"]["base_url"] == "http://127.0.0.1:4321"
    assert configuration["core"]["execution_api_server_url"] == "http://127.0.0.1:4321/execution/"
    assert configuration["core"]["dags_folder"] == str(settings.root / "dags")
    assert "0.0.0.0" not in (settings.airflow_home / "airflow.cfg").read_text()


def test_every_setting_is_one_that_airflow_knows(settings: StackSettings) -> None:
    import airflow
    import yaml

    known = yaml.safe_load((Path(airflow.__file__).parent / "config_templates" / "config.yml").read_text())
    configuration = _configuration(settings)
    unknown = [
        f"[{section}] {key}"
        for section in configuration.sections()
        for key in configuration[section]
        if key not in known.get(section, {"options": {}})["options"]
    ]
    assert unknown == []


def _write(database: Path, word: str) -> None:
    with contextlib.closing(sqlite3.connect(database)) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS words (word)")
        connection.execute("INSERT INTO words VALUES (?)", [word])
        connection.commit()


def _words(database: Path) -> list[str]:
    with contextlib.closing(sqlite3.connect(database)) as connection:
        return [word for (word,) in connection.execute("SELECT word FROM words")]


def test_the_database_is_migrated_once_for_each_airflow_version(settings: StackSettings) -> None:
    assert airflow_home.needs_migration(settings)
    _write(airflow_home.database_in_progress(settings), "migrated")
    airflow_home.adopt_database(settings)
    assert not airflow_home.needs_migration(settings)
    made_by = settings.airflow_home / "airflow.db.version"
    assert made_by.read_text().strip() == version("apache-airflow")
    made_by.write_text("3.0.0\n")
    assert airflow_home.needs_migration(settings)


def test_an_interrupted_migration_leaves_the_database_as_it_was(settings: StackSettings) -> None:
    database = settings.airflow_home / "airflow.db"
    _write(database, "in use")
    _write(airflow_home.database_in_progress(settings), "half done")
    assert _words(database) == ["in use"]
    assert _words(airflow_home.database_in_progress(settings)) == ["in use"]


def test_a_migration_keeps_what_a_crash_left_in_the_write_ahead_log(settings: StackSettings) -> None:
    database = settings.airflow_home / "airflow.db"
    crashed = sqlite3.connect(database)
    crashed.execute("PRAGMA journal_mode=WAL")
    crashed.execute("CREATE TABLE words (word)")
    crashed.commit()
    _write(database, "logged")  # the open connection keeps it in the log
    assert database.with_name("airflow.db-wal").stat().st_size > 0
    _write(airflow_home.database_in_progress(settings), "migrated")
    airflow_home.adopt_database(settings)
    assert _words(database) == ["logged", "migrated"]
    crashed.close()
