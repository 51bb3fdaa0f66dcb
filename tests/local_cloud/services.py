"""Starts the local cloud for a test and speaks to it with Google's own clients.

Self-contained: nothing here depends on the rest of the test suite.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from google import genai
    from google.cloud import storage
    from google.oauth2 import service_account

INCLUDE = Path(__file__).parents[2] / "include"
BUCKET = "tuning"
ENDED = {f"JOB_STATE_{state}" for state in ("SUCCEEDED", "FAILED", "CANCELLED", "EXPIRED", "PARTIALLY_SUCCEEDED")}
_START_SECONDS = 60
_WAIT_SECONDS = 120


@dataclass(frozen=True)
class LocalCloud:
    """A running local cloud: the contents of its ready file."""

    vertex_url: str
    storage_url: str
    credentials_path: str
    project: str
    project_number: str
    location: str
    pid: int
    storage_pid: int

    @property
    def bucket(self) -> str:
        """A bucket that exists."""
        return BUCKET

    @property
    def parent(self) -> str:
        """Where tuning jobs are created: ``projects/{id}/locations/{location}``."""
        return f"projects/{self.project}/locations/{self.location}"

    def environment(self) -> dict[str, str]:
        """The variables that point Google's clients, in any process, at this local cloud."""
        return {
            "GOOGLE_VERTEX_BASE_URL": self.vertex_url,
            "STORAGE_EMULATOR_HOST": self.storage_url,
            "GOOGLE_APPLICATION_CREDENTIALS": self.credentials_path,
        }

    def credentials(self) -> service_account.Credentials:
        """Credentials from the generated service-account file."""
        from google.oauth2 import service_account

        scopes = ["https://www.googleapis.com/auth/cloud-platform"]
        return service_account.Credentials.from_service_account_file(self.credentials_path, scopes=scopes)

    def genai(self, location: str | None = None) -> genai.Client:
        """A google-genai client. Keep a reference to it: a collected client closes its connections."""
        from google import genai
        from google.genai import types

        return genai.Client(
            vertexai=True,
            project=self.project,
            location=location or self.location,
            credentials=self.credentials(),
            http_options=types.HttpOptions(base_url=self.vertex_url),
        )

    def aiplatform_settings(self) -> dict[str, Any]:
        """What points google-cloud-aiplatform's ``init``, or vertexai's, at this local cloud."""
        return {
            "project": self.project,
            "location": self.location,
            "credentials": self.credentials(),
            "api_endpoint": self.vertex_url,
            "api_transport": "rest",
        }

    def generated(self, client_class: Any) -> Any:
        """A client that Google generates from its protos, such as ``GenAiTuningServiceClient``, over REST."""
        options = {"api_endpoint": self.vertex_url}
        return client_class(transport="rest", credentials=self.credentials(), client_options=options)

    def storage(self) -> storage.Client:
        """A google-cloud-storage client."""
        from google.auth.credentials import AnonymousCredentials
        from google.cloud import storage

        return storage.Client(
            project=self.project, credentials=AnonymousCredentials(), client_options={"api_endpoint": self.storage_url}
        )

    def http(self) -> httpx.Client:
        """A plain HTTP client with a bearer token."""
        from google.auth.transport.requests import Request

        credentials = self.credentials()
        credentials.refresh(Request())
        headers = {"Authorization": f"Bearer {credentials.token}"}
        return httpx.Client(base_url=self.vertex_url, headers=headers, timeout=30, trust_env=False)

    def upload(self, name: str, content: str | bytes | Sequence[dict[str, Any]]) -> str:
        """Put an object into the bucket (rows become JSONL) and return its ``gs://`` URI."""
        if not isinstance(content, (str, bytes)):
            content = "".join(json.dumps(row) + "\n" for row in content)
        self.storage().bucket(BUCKET).blob(name).upload_from_string(content)
        return f"gs://{BUCKET}/{name}"

    def control(self, method: str, path: str, body: Any = None) -> Any:
        """Call the control API, ``/_local/{path}``, and return its answer."""
        response = httpx.request(method, f"{self.vertex_url}/_local/{path}", json=body, timeout=30, trust_env=False)
        assert response.status_code == httpx.codes.OK, response.text
        return response.json()

    def counters(self) -> dict[str, int]:
        """The ledger's counters."""
        counters: dict[str, int] = httpx.get(f"{self.vertex_url}/_local/counters", trust_env=False).json()
        return counters

    def requests(self) -> list[dict[str, Any]]:
        """The request log."""
        log: list[dict[str, Any]] = httpx.get(f"{self.vertex_url}/_local/requests", trust_env=False).json()
        return log


@contextlib.contextmanager
def running_local_cloud(state_dir: Path, **flags: Any) -> Iterator[LocalCloud]:
    """Start ``python -m local_cloud`` on free ports, with a bucket, and stop it afterwards.

    Args:
        state_dir: its state directory; give the same one again to restart it.
        flags: command-line options, ``pending_seconds=0`` for ``--pending-seconds 0``; True stands for a bare flag,
            False leaves it out. A token is required unless ``require_token=False``.
    """
    process, cloud = start_local_cloud(state_dir, **flags)
    try:
        yield cloud
    finally:
        process.terminate()
        process.wait(timeout=30)


def start_local_cloud(state_dir: Path, **flags: Any) -> tuple[subprocess.Popen[bytes], LocalCloud]:
    """Start the local cloud and wait for its ready file; stopping it is left to the caller."""
    state_dir.mkdir(parents=True, exist_ok=True)
    ready = state_dir / "ready.json"
    ready.unlink(missing_ok=True)
    command = command_line(state_dir, ready, **flags)
    environment = {**os.environ, "PYTHONPATH": str(INCLUDE)}
    log = state_dir / "local_cloud.log"
    with log.open("ab") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
    try:
        wait_until(lambda: ready.exists() or process.poll() is not None, _START_SECONDS, "the local cloud to start")
        if process.poll() is not None:
            raise RuntimeError(f"the local cloud did not start:\n{log.read_text()}")
    except BaseException:
        process.kill()
        process.wait()
        raise
    return process, read_ready(ready)


def command_line(state_dir: Path, ready: Path, **flags: Any) -> list[str]:
    """The command that starts a local cloud."""
    options = {"pending_seconds": 0.2, "bucket": BUCKET, "require_token": True, **flags}
    words = []
    for name, value in {**options, "state_dir": state_dir, "ready_file": ready}.items():
        if value is not False:
            words += [f"--{name.replace('_', '-')}", *([] if value is True else [str(value)])]
    return [sys.executable, "-m", "local_cloud", *words]


def read_ready(path: Path) -> LocalCloud:
    """The local cloud that wrote this ready file."""
    content = json.loads(path.read_text())
    return LocalCloud(**{field.name: content[field.name] for field in fields(LocalCloud)})


def wait_until(condition: Callable[[], bool], seconds: float, what: str) -> None:
    """Return once ``condition`` holds; fail when it doesn't within a generous time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds:.0f} s for {what}")
        time.sleep(0.05)


def wait_for_job(client: httpx.Client, name: str, state: str | None = None) -> dict[str, Any]:
    """Poll a job until it has ended, or until it is in ``state``, and return it."""
    job: dict[str, Any] = {}

    def reached() -> bool:
        job.clear()
        job.update(client.get(f"/v1beta1/{name}").raise_for_status().json())
        return job["state"] == state if state else job["state"] in ENDED

    wait_until(reached, _WAIT_SECONDS, f"{name} to reach {state or 'its end'}")
    return job


def example(question: str, answer: str) -> dict[str, Any]:
    """One dataset row of two turns."""
    turns = (("user", question), ("model", answer))
    return {"contents": [{"role": role, "parts": [{"text": text}]} for role, text in turns]}


def process_exists(pid: int) -> bool:
    """Whether a process runs (a zombie does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
