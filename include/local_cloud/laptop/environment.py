"""The environment of the stack's processes: built from nothing, so that nothing of the user's leaks in."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path

from local_cloud.laptop.processes import MARK
from local_cloud.laptop.settings import LOCAL_PROJECT, StackSettings

# What a process needs from the user's session to run at all: where temporary files go, which language and time zone.
_PASSED_ON = ("TMPDIR", "TZ", "LANG", "LC_ALL", "LC_CTYPE", "TERM", "SYSTEMROOT")

# Nothing leaves this machine. Google's clients look up more than they are asked to (the "allowed locations" of a
# service account, a metadata server); here such a look-up is refused at once, by a port where nobody listens.
SEALED = {
    "HTTP_PROXY": "http://127.0.0.1:9",
    "HTTPS_PROXY": "http://127.0.0.1:9",
    "http_proxy": "http://127.0.0.1:9",
    "https_proxy": "http://127.0.0.1:9",
    "NO_PROXY": "127.0.0.1,localhost",
    "no_proxy": "127.0.0.1,localhost",
    "NO_GCE_CHECK": "true",
}


# The local Vertex AI shows a new job at once, and does nothing about a request whose connection is gone.
LAPTOP = {
    "GEMINI_TUNING_INSTALLATION": "laptop",
    "GEMINI_TUNING_SETTLE_SECONDS": "1",
    "GEMINI_TUNING_REQUEST_SECONDS": "5",
}


def base_environment(settings: StackSettings) -> dict[str, str]:
    """Variables that every process of the stack gets.

    No ``AIRFLOW_*``, ``GOOGLE_*``, proxy or ``PYTHONPATH`` variable of the user's is among them.
    """
    environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    environment |= {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), "/usr/local/bin", "/usr/bin", "/bin"]),
        "HOME": str(settings.home),
        "PYTHONUNBUFFERED": "1",
        **SEALED,
        # Two cores: more threads than that only make numpy slower.
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        # By this the stack's processes are found again, also after a crash. Airflow's processes rename themselves,
        # which would overwrite the environment that the operating system shows; SPT_NOENV keeps it.
        MARK: str(settings.state_dir),
        "SPT_NOENV": "1",
        # macOS ends a forked process that has touched its frameworks; Airflow forks its workers.
        "OBJC_DISABLE_INITIALIZE_FORK_SAFETY": "YES",
    }
    return environment


def cloud_environment(settings: StackSettings) -> dict[str, str]:
    """The environment of ``python -m local_cloud`` and of the supervisor."""
    return base_environment(settings) | {"PYTHONPATH": str(Path(__file__).resolve().parents[2])}


def client_variables(settings: StackSettings, cloud: Mapping[str, str]) -> dict[str, str]:
    """Variables that point Airflow, the Google clients and the command line at this stack.

    :param cloud: the local cloud's ready file.
    """
    extra = {"key_path": cloud["credentials_path"], "project": cloud.get("project", LOCAL_PROJECT)}
    connection = {"conn_type": "google_cloud_platform", "extra": extra}
    return {
        "AIRFLOW_HOME": str(settings.airflow_home),
        "AIRFLOW_CONN_GOOGLE_CLOUD_DEFAULT": json.dumps(connection),
        "GOOGLE_APPLICATION_CREDENTIALS": cloud["credentials_path"],
        "GOOGLE_VERTEX_BASE_URL": cloud["vertex_url"],
        "STORAGE_EMULATOR_HOST": cloud["storage_url"],
    }


def airflow_environment(settings: StackSettings, cloud: Mapping[str, str]) -> dict[str, str]:
    """The environment of the Airflow processes."""
    return base_environment(settings) | client_variables(settings, cloud) | LAPTOP | dict(settings.extra_env)


def shell_lines(settings: StackSettings, cloud: Mapping[str, str]) -> str:
    """``export`` lines for a terminal: ``. .local/env`` and the command line talks to this stack."""
    variables = client_variables(settings, cloud) | {"NO_GCE_CHECK": "true"}
    lines = [f"export {name}={shlex.quote(value)}" for name, value in variables.items()]
    # The shell stays able to reach the world; a proxy of its owner's must not be asked for what is on this machine.
    lines += [f'export {name}="127.0.0.1,localhost${{{name}:+,${name}}}"' for name in ("NO_PROXY", "no_proxy")]
    lines.append(f"export PATH={shlex.quote(str(Path(sys.executable).parent))}:$PATH")
    return "\n".join(lines) + "\n"
