"""Where a stack lives and what it is made of: plain values, no processes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

PROJECT_ROOT = Path(__file__).resolve().parents[3]
LOCAL_PROJECT = "local-dev"
LOCAL_LOCATION = "us-central1"
DEFAULT_BUCKET = "gemini-tuning-demo"


@dataclass(frozen=True, kw_only=True)
class StackSettings:
    """One stack: the project it runs and the folder that holds everything it writes.

    :param root: the project, with ``dags/``, ``plugins/`` and ``include/``.
    :param state_dir: Airflow home, local cloud state, logs and keys go here, and nowhere else.
    :param dags_folder: Dags to load; ``root/dags`` when left out.
    :param plugins_folder: plugins to load; ``root/plugins`` when left out.
    :param buckets: Cloud Storage buckets to create.
    :param extra_env: further environment variables for the Airflow processes.
    :param cloud_options: further options for ``python -m local_cloud``.
    :param restart: start an Airflow component again when it ends, as systemd or Kubernetes would; else the stack ends.
    """

    root: Path
    state_dir: Path
    dags_folder: Path | None = None
    plugins_folder: Path | None = None
    buckets: tuple[str, ...] = ()
    extra_env: Mapping[str, str] = field(default_factory=dict)
    cloud_options: tuple[str, ...] = ()
    restart: bool = False

    @property
    def dags(self) -> Path:
        """The Dags folder in force."""
        return self.dags_folder or self.root / "dags"

    @property
    def plugins(self) -> Path:
        """The plugins folder in force."""
        return self.plugins_folder or self.root / "plugins"

    @property
    def home(self) -> Path:
        """A home directory of its own, so that nobody's ``~/.config/gcloud`` reaches the stack."""
        return self.state_dir / "home"

    @property
    def airflow_home(self) -> Path:
        """``AIRFLOW_HOME`` of the stack."""
        return self.state_dir / "airflow"

    @property
    def cloud_dir(self) -> Path:
        """State of the local cloud: objects, jobs, models, the service-account file."""
        return self.state_dir / "cloud"

    @property
    def logs(self) -> Path:
        """One log file for each process of the stack."""
        return self.state_dir / "logs"

    @property
    def passwords_file(self) -> Path:
        """Airflow's own password file: ``{"admin": "…"}``."""
        return self.airflow_home / "passwords.json"

    @property
    def state_file(self) -> Path:
        """What the supervisor says about itself; see ``state.StackState``."""
        return self.state_dir / "stack.json"

    @property
    def lock_file(self) -> Path:
        """Locked by the supervisor for as long as it lives."""
        return self.state_dir / "stack.lock"

    @property
    def env_file(self) -> Path:
        """Shell lines that point a terminal at the running stack."""
        return self.state_dir / "env"

    def to_json(self) -> str:
        """The settings as one line of JSON, for the supervisor's command line."""
        values = {
            "root": str(self.root),
            "state_dir": str(self.state_dir),
            "dags_folder": str(self.dags_folder) if self.dags_folder else None,
            "plugins_folder": str(self.plugins_folder) if self.plugins_folder else None,
            "buckets": list(self.buckets),
            "extra_env": dict(self.extra_env),
            "cloud_options": list(self.cloud_options),
            "restart": self.restart,
        }
        return json.dumps(values)

    @classmethod
    def from_json(cls, text: str) -> StackSettings:
        """The settings that ``to_json`` wrote."""
        values: dict[str, Any] = json.loads(text)
        for key in ("root", "state_dir", "dags_folder", "plugins_folder"):
            values[key] = Path(values[key]) if values[key] else None
        for key in ("buckets", "cloud_options"):
            values[key] = tuple(values[key])
        return cls(**values)


def project_settings(root: Path = PROJECT_ROOT) -> StackSettings:
    """The settings of this project on this laptop: state in ``.local/``, buckets as its pipelines name them."""
    buckets = pipeline_buckets(root) or (DEFAULT_BUCKET,)
    return StackSettings(root=root, state_dir=root / ".local", buckets=buckets)


def pipeline_buckets(root: Path) -> tuple[str, ...]:
    """Every bucket that a pipeline file names, so that a laptop has what the pipelines expect.

    A file that cannot be read names none: Airflow reports it as an import error, the right place for it.
    """
    found: set[str] = set()
    for path in sorted((root / "include" / "pipelines").glob("*.y*ml")):
        try:
            document = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, yaml.YAMLError):
            continue
        found.update(_values_of("bucket", document))
    return tuple(sorted(found))


def _values_of(key: str, node: object) -> Iterator[str]:
    if isinstance(node, dict):
        for name, value in node.items():
            if name == key and isinstance(value, str):
                yield value
            else:
                yield from _values_of(key, value)
    elif isinstance(node, list):
        for item in node:
            yield from _values_of(key, item)
