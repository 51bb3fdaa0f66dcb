"""What a stack is made of, and in which order it comes up: the local cloud, then the four Airflow components."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import httpx

from local_cloud.laptop import airflow_home
from local_cloud.laptop.airflow_api import AirflowApi
from local_cloud.laptop.environment import (
    airflow_environment,
    base_environment,
    cloud_environment,
    shell_lines,
)
from local_cloud.laptop.settings import LOCAL_LOCATION, LOCAL_PROJECT, StackSettings
from local_cloud.laptop.state import write_private
from local_cloud.laptop.supervisor import LOCAL_CLOUD, Supervisor
from local_cloud.storage import free_port

# Scheduler and triggerer would serve their logs on every interface; on one machine the API server reads the files.
AIRFLOW_COMPONENTS: Mapping[str, tuple[str, ...]] = {
    "api-server": ("api-server",),
    "scheduler": ("scheduler", "--skip-serve-logs"),
    "dag-processor": ("dag-processor",),
    "triggerer": ("triggerer", "--skip-serve-logs"),
}
POOL = "vertex_tuning"
_START_SECONDS = 120.0


def start_stack(supervisor: Supervisor) -> dict[str, str]:
    """Bring everything up and wait until it answers.

    :return: ``airflow_url`` and the local cloud's addresses.
    :raises StackError: a component did not come up.
    """
    settings = supervisor.settings
    settings.home.mkdir(parents=True, exist_ok=True)
    port = free_port()
    airflow_home.prepare(settings, port=port)
    supervisor.say("starting the local Cloud Storage and Vertex AI")
    _start_local_cloud(supervisor)
    _migrate(supervisor)
    cloud = _await_local_cloud(supervisor)
    supervisor.say("starting Airflow: API server, scheduler, Dag processor, triggerer")
    began = datetime.now(UTC)
    environment = airflow_environment(settings, cloud)
    for name, command in AIRFLOW_COMPONENTS.items():
        own = airflow_home.brief_patience() if name == "api-server" else {}
        supervisor.spawn(name, [sys.executable, "-m", "airflow", *command], environment | own)
    _await_airflow(supervisor, port, began)
    _make_pool(settings, port)
    write_private(settings.env_file, shell_lines(settings, cloud))
    keys = ("vertex_url", "storage_url", "credentials_path", "project", "location")
    return {"airflow_url": f"http://127.0.0.1:{port}"} | {key: str(cloud[key]) for key in keys if key in cloud}


def _make_pool(settings: StackSettings, port: int) -> None:
    """Make the pool of the tuning tasks; one that is there stays as it is."""
    api = AirflowApi(f"http://127.0.0.1:{port}", username=airflow_home.ADMIN, password=airflow_home.password(settings))
    if api.find(f"/pools/{POOL}") is None:
        description = "Tuning jobs at a time; deferred tasks count."
        api.post("/pools", {"name": POOL, "slots": 8, "description": description, "include_deferred": True})
    api.close()


def healthy_since(report: Mapping[str, Any], began: datetime) -> bool:
    """True when each component has reported itself after ``began``.

    The database remembers the heartbeats of the stack before this one, hence the time.

    :param report: the answer of ``GET /api/v2/monitor/health``.
    """
    for name, beat in (
        ("scheduler", "latest_scheduler_heartbeat"),
        ("triggerer", "latest_triggerer_heartbeat"),
        ("dag_processor", "latest_dag_processor_heartbeat"),
    ):
        part = report.get(name) or {}
        if part.get("status") != "healthy" or datetime.fromisoformat(part[beat]) < began:
            return False
    return True


def _start_local_cloud(supervisor: Supervisor) -> None:
    settings = supervisor.settings
    settings.cloud_dir.mkdir(parents=True, exist_ok=True)
    (settings.cloud_dir / "ready.json").unlink(missing_ok=True)
    argv = [sys.executable, "-m", "local_cloud", "--state-dir", str(settings.cloud_dir)]
    argv += ["--ready-file", str(settings.cloud_dir / "ready.json")]
    argv += ["--project", LOCAL_PROJECT, "--location", LOCAL_LOCATION, "--require-token"]
    for bucket in settings.buckets:
        argv += ["--bucket", bucket]
    supervisor.spawn(LOCAL_CLOUD, [*argv, *settings.cloud_options], cloud_environment(settings))


def _await_local_cloud(supervisor: Supervisor) -> dict[str, str]:
    ready = supervisor.settings.cloud_dir / "ready.json"
    supervisor.wait_for(ready.exists, what="the local cloud", seconds=_START_SECONDS, log=LOCAL_CLOUD)
    cloud: dict[str, str] = json.loads(ready.read_text(encoding="utf-8"))
    return cloud


def _migrate(supervisor: Supervisor) -> None:
    settings: StackSettings = supervisor.settings
    if not airflow_home.needs_migration(settings):
        return
    supervisor.say("creating Airflow's database (once)")
    database = airflow_home.database_in_progress(settings)
    environment = base_environment(settings) | {
        "AIRFLOW_HOME": str(settings.airflow_home),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{database}",
    }
    argv = [sys.executable, "-m", "airflow", "db", "migrate"]
    supervisor.run_once("database-migration", argv, environment, seconds=_START_SECONDS)
    airflow_home.adopt_database(settings)


def _await_airflow(supervisor: Supervisor, port: int, began: datetime) -> None:
    def up() -> bool:
        try:
            answer = httpx.get(f"http://127.0.0.1:{port}/api/v2/monitor/health", timeout=5, trust_env=False)
            return answer.status_code == httpx.codes.OK and healthy_since(answer.json(), began)
        except httpx.HTTPError:
            return False

    supervisor.wait_for(up, what="Airflow to come up", seconds=_START_SECONDS, log="scheduler")
