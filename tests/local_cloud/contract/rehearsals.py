"""Runs Google's own scripts and tests, unchanged, in a process whose calls to Vertex AI reach a local cloud."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.local_cloud.services import INCLUDE

if TYPE_CHECKING:
    from tests.local_cloud.services import LocalCloud

_PATH = (INCLUDE / "local_cloud" / "redirect", Path(__file__).parent / "rehearsal")
_SECONDS = 280
_FOREIGN = re.compile(r"GOOGLE_|PYTEST_|\w+_PROXY$", re.IGNORECASE)


def rehearse(
    cloud: LocalCloud, arguments: list[str], directory: Path, project: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run ``python ARGUMENTS`` in ``directory``, as someone would who has that Google Cloud project."""
    kept = {name: value for name, value in os.environ.items() if not _FOREIGN.match(name)}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=directory,
        env={
            **kept,
            "LOCAL_VERTEX_URL": cloud.vertex_url,
            "LOCAL_VERTEX_LONGEST_SLEEP": "0.2",
            "PYTHONPATH": os.pathsep.join(map(str, _PATH)),
            "GOOGLE_CLOUD_PROJECT": project,
            "GOOGLE_CLOUD_LOCATION": cloud.location,
            "GOOGLE_GENAI_USE_VERTEXAI": "True",
            "GOOGLE_APPLICATION_CREDENTIALS": cloud.credentials_path,
            **environment,
        },
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
    )


def plant(cloud: LocalCloud, job: dict[str, Any]) -> None:
    """Plant a job in a local cloud."""
    with cloud.http() as client:
        client.post("/_local/jobs", json=job).raise_for_status()
