"""The stack's own AIRFLOW_HOME: keys and password made once, the configuration written at each start."""

from __future__ import annotations

import base64
import configparser
import contextlib
import io
import json
import os
import secrets
import sqlite3
from importlib.metadata import version
from pathlib import Path

from local_cloud.laptop.settings import StackSettings
from local_cloud.laptop.state import write_private

ADMIN = "admin"
_SIMPLE_AUTH = "airflow.api_fastapi.auth.managers.simple.simple_auth_manager.SimpleAuthManager"
_PATIENCE = "sqlite_patience"


def prepare(settings: StackSettings, *, port: int) -> None:
    """Write ``airflow.cfg`` for this start; make keys and the password if there are none yet.

    :param port: the API server's port.
    """
    settings.airflow_home.mkdir(parents=True, exist_ok=True)
    password(settings)
    patience = settings.airflow_home / "config" / f"{_PATIENCE}.py"  # Airflow imports what lies in this folder
    patience.parent.mkdir(exist_ok=True)
    patience.write_text('CONNECT = {"timeout": 60}  # seconds\nCONNECT_BRIEFLY = {"timeout": 5}\n', encoding="utf-8")
    write_private(settings.airflow_home / "airflow.cfg", configuration(settings, port=port, keys=_keys(settings)))


def brief_patience() -> dict[str, str]:
    """Variables for the API server.

    What Airflow writes there about a user's action waits inside its event loop, maybe for a task's write that can't end
    without that loop: then everything stands still until the patience is over.
    """
    names = ("SQL_ALCHEMY_CONNECT_ARGS", "SQL_ALCHEMY_CONNECT_ARGS_ASYNC")
    return {f"AIRFLOW__DATABASE__{name}": f"{_PATIENCE}.CONNECT_BRIEFLY" for name in names}


def password(settings: StackSettings) -> str:
    """The admin's password, generated the first time."""
    if not settings.passwords_file.exists():
        write_private(settings.passwords_file, json.dumps({ADMIN: secrets.token_urlsafe(12)}) + "\n")
    passwords: dict[str, str] = json.loads(settings.passwords_file.read_text(encoding="utf-8"))
    return passwords[ADMIN]


def configuration(settings: StackSettings, *, port: int, keys: dict[str, str]) -> str:
    """The text of ``airflow.cfg``: what differs from Airflow's defaults, and why.

    Everything listens on loopback only. The log servers of scheduler and triggerer, which Airflow binds to every
    interface, are not started at all (``--skip-serve-logs``): the API server reads the files.
    """
    url = f"http://127.0.0.1:{port}"
    sections: dict[str, dict[str, object]] = {
        "core": {
            "dags_folder": settings.dags,
            "plugins_folder": settings.plugins,
            "load_examples": False,
            "executor": "LocalExecutor",
            "parallelism": 4,  # LocalExecutor forks this many workers at once; a laptop has few cores
            "auth_manager": _SIMPLE_AUTH,
            "simple_auth_manager_users": f"{ADMIN}:admin",
            "simple_auth_manager_passwords_file": settings.passwords_file,
            "fernet_key": keys["fernet_key"],
            "execution_api_server_url": f"{url}/execution/",
            "hostname_callable": "socket.gethostname",  # the default asks DNS, slow on some laptops
        },
        "database": {
            "sql_alchemy_conn": f"sqlite:///{settings.airflow_home / 'airflow.db'}",
            # SQLite lets one process write at a time; the default patience of 5 s is too short for a busy laptop
            "sql_alchemy_connect_args": f"{_PATIENCE}.CONNECT",
            "sql_alchemy_connect_args_async": f"{_PATIENCE}.CONNECT",
        },
        "logging": {
            "base_log_folder": settings.airflow_home / "logs",
            "colored_console_log": False,
            # google-auth looks for a service account's regions at Google in the background; here that leads nowhere
            "namespace_levels": "urllib3.connectionpool=ERROR",
        },
        "api": {
            "host": "127.0.0.1",
            "port": port,
            "base_url": url,
            "secret_key": keys["secret_key"],
            "instance_name": "Gemini tuning on this laptop",
        },
        "api_auth": {"jwt_secret": keys["jwt_secret"]},
        # Short pauses: somebody is watching.
        "workers": {"min_heartbeat_interval": 1},
        "scheduler": {"scheduler_idle_sleep_time": 0.3, "scheduler_health_check_server_host": "127.0.0.1"},
        "dag_processor": {
            "refresh_interval": 5,
            "bundle_refresh_check_interval": 2,
            "min_file_process_interval": 10,
        },
    }
    parser = configparser.RawConfigParser()
    # Airflow interpolates "%"; a path may contain one.
    parser.read_dict({name: {k: str(v).replace("%", "%%") for k, v in s.items()} for name, s in sections.items()})
    text = io.StringIO()
    parser.write(text)
    return "# Written at each start of the local stack; changes here are lost.\n" + text.getvalue()


def needs_migration(settings: StackSettings) -> bool:
    """True when there is no database yet, or another Airflow version made it."""
    made_by = settings.airflow_home / "airflow.db.version"
    database = settings.airflow_home / "airflow.db"
    return not database.exists() or not made_by.exists() or made_by.read_text().strip() != version("apache-airflow")


def database_in_progress(settings: StackSettings) -> Path:
    """A copy to migrate, so that an interrupted migration leaves the database in use as it was."""
    copy = settings.airflow_home / "airflow.db.new"
    _remove_database(copy)
    database = settings.airflow_home / "airflow.db"
    if database.exists():  # its newest pages may lie in its write-ahead log: SQLite has to make the copy
        with contextlib.closing(sqlite3.connect(database)) as old, contextlib.closing(sqlite3.connect(copy)) as new:
            old.backup(new)
    return copy


def adopt_database(settings: StackSettings) -> None:
    """Put the migrated copy in use."""
    copy, database = settings.airflow_home / "airflow.db.new", settings.airflow_home / "airflow.db"
    with contextlib.closing(sqlite3.connect(copy)) as new:
        new.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    _remove_database(database)  # with its log, which SQLite would else replay into the new one
    copy.replace(database)
    (settings.airflow_home / "airflow.db.version").write_text(version("apache-airflow") + "\n")


def _remove_database(file: Path) -> None:
    for name in (file.name, f"{file.name}-wal", f"{file.name}-shm"):
        file.with_name(name).unlink(missing_ok=True)


def _keys(settings: StackSettings) -> dict[str, str]:
    file = settings.airflow_home / "keys.json"
    if not file.exists():
        made = {
            "fernet_key": base64.urlsafe_b64encode(os.urandom(32)).decode(),
            "jwt_secret": secrets.token_urlsafe(48),
            "secret_key": secrets.token_urlsafe(48),
        }
        write_private(file, json.dumps(made) + "\n")
    keys: dict[str, str] = json.loads(file.read_text(encoding="utf-8"))
    return keys
