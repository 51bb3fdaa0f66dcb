"""``python -m local_cloud``: start the local Cloud Storage and the local Vertex AI.

Both listen on loopback, unless they are told otherwise twice. When both answer, the ready file (if asked for) appears,
complete, with their addresses. The process ends on SIGTERM or SIGINT, and with the process that started it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import fcntl
import ipaddress
import json
import logging
import os
import signal
import socket
import sqlite3
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvicorn
import yaml
from pydantic import ValidationError

from local_cloud.credentials import write_service_account
from local_cloud.storage import StorageError, StorageServer
from local_cloud.vertex.app import create_app
from local_cloud.vertex.control.connections import Protocol
from local_cloud.vertex.control.script import Behaviour, Script
from local_cloud.vertex.errors import ApiError
from local_cloud.vertex.jobs.store import OtherVersionError
from local_cloud.vertex.names import assign_project_number, project_number
from local_cloud.vertex.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

log = logging.getLogger("local_cloud")

_MODELS = Path(__file__).parent.parent / "models.yaml"
_PARENT_CHECK_SECONDS = 0.5


class StartError(RuntimeError):
    """The local cloud cannot start as asked."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until told to stop; returns the exit status."""
    options = _parser().parse_args(arguments)
    options.parent = os.getppid()
    os.umask(0o077)  # keys, prompts and datasets are the user's own
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(variable, "1")  # read when NumPy is first imported, to answer a prompt
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    if options.project_number:
        assign_project_number(options.project, options.project_number)
    try:
        _check_host(options.host, allow_others=options.allow_non_loopback)
        if options.training_processes < 1:
            raise StartError("--training-processes must be at least 1")
        return asyncio.run(_serve(options))
    except (StorageError, StartError, OSError) as error:
        print(f"local_cloud: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m local_cloud", description=__doc__)
    parser.add_argument(
        "--state-dir", type=Path, default=Path(".local/local-cloud"), help="everything that survives a restart"
    )
    parser.add_argument("--vertex-port", type=int, default=0, help="0 takes a free port")
    parser.add_argument("--storage-port", type=int, default=0, help="0 takes a free port")
    parser.add_argument("--host", default="127.0.0.1", help="name or address to listen on, and to be reached by")
    parser.add_argument("--allow-non-loopback", action="store_true", help="let --host be reached from other machines")
    parser.add_argument("--bucket", action="append", default=[], help="bucket to create; repeatable")
    parser.add_argument("--project", default="local-dev")
    parser.add_argument("--location", default="us-central1", help="only reported in the ready file: all regions work")
    parser.add_argument("--project-number", help="of --project; derived from its id when left out")
    parser.add_argument("--models", type=Path, default=_MODELS, help="table of base models")
    parser.add_argument("--ready-file", type=Path, help="written when everything answers")
    parser.add_argument("--training-processes", type=int, default=2, help="jobs that train at the same time")
    parser.add_argument("--script", type=Path, help="YAML file of jobs, scenarios, faults, answers and settings")
    parser.add_argument(
        "--detached", action="store_true", help="keep running when the process that started this one ends"
    )
    behaviour = parser.add_argument_group("behaviour", "can be changed at run time by PATCH /_local/settings, too")
    for name, field in Behaviour.model_fields.items():
        default = "" if field.default in (None, False) else f" (default {field.default})"
        behaviour.add_argument(
            f"--{name.replace('_', '-')}",
            action="store_const" if field.annotation is bool else "store",
            default=argparse.SUPPRESS,
            help=f"{field.description}{default}",
            **({"const": True} if field.annotation is bool else {"metavar": "VALUE"}),
        )
    return parser


def _script(path: Path | None) -> Script:
    """Read the ``--script`` file.

    Raises:
        StartError: it can't be read, or something in it is wrong.
    """
    if path is None:
        return Script()
    try:
        return Script.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")) or {})
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise StartError(f"the script {path} is of no use: {error}") from error


def _settings(options: argparse.Namespace, state: Path, storage_url: str, script: Script) -> Settings:
    try:
        return Settings(
            state_dir=state,
            storage_url=storage_url,
            models_file=options.models,
            training_processes=options.training_processes,
            scripted=script.settings,
            flags={name: value for name, value in vars(options).items() if name in Behaviour.model_fields},
        )
    except ValidationError as error:
        faults = "; ".join(f"{item['loc'][0]}: {item['msg']}" for item in error.errors())
        raise StartError(f"these settings are of no use: {faults}") from error


async def _serve(options: argparse.Namespace) -> int:
    state: Path = options.state_dir.resolve()
    storage = StorageServer(state / "storage", options.storage_port, options.host)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    state.mkdir(parents=True, exist_ok=True)
    with _sole_user(state), contextlib.closing(_listener(options.host, options.vertex_port)) as listener:
        try:
            await storage.start()
            for bucket in options.bucket:
                await storage.create_bucket(bucket, options.project)
            return await _run(options, state, storage, listener, stop)
        finally:
            if options.ready_file:
                options.ready_file.unlink(missing_ok=True)
            await storage.stop()


async def _run(
    options: argparse.Namespace, state: Path, storage: StorageServer, listener: socket.socket, stop: asyncio.Event
) -> int:
    """Serve Vertex AI until ``stop`` is set, the parent ends, or one of the two servers does."""
    vertex_url = f"http://{options.host}:{listener.getsockname()[1]}"
    credentials = state / "credentials.json"
    write_service_account(credentials, project=options.project, token_uri=f"{vertex_url}/token")
    server = _vertex_server(options, state, storage.url)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    failures = {serving, asyncio.create_task(storage.ended())}
    orphaned = asyncio.create_task(_ended(None if options.detached else options.parent))
    reasons = failures | {asyncio.create_task(stop.wait()), orphaned}
    while not server.started and not any(task.done() for task in reasons):
        await asyncio.sleep(0.01)
    if server.started:
        ready = {
            "vertex_url": vertex_url,
            "storage_url": storage.url,
            "credentials_path": str(credentials),
            "project": options.project,
            "project_number": project_number(options.project),
            "location": options.location,
            "pid": os.getpid(),
            "storage_pid": storage.pid,
        }
        _announce(ready, options.ready_file)
    ended, _ = await asyncio.wait(reasons, return_when=asyncio.FIRST_COMPLETED)
    if orphaned in ended:
        log.info("the process that started this one has ended; --detached keeps it running")
    server.should_exit = True
    await serving
    if ended & failures:
        log.error("a server ended by itself")
        return 1
    return 0


class _Server(uvicorn.Server):
    """Leaves signals to us: uvicorn would raise them again after its own shutdown and so spoil the exit status."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _vertex_server(options: argparse.Namespace, state: Path, storage_url: str) -> _Server:
    script = _script(options.script)
    settings = _settings(options, state, storage_url, script)
    try:
        app = create_app(settings, script if options.script else None)
    except ApiError as error:
        raise StartError(f"the script {options.script} is of no use: {error}") from error
    except OtherVersionError as error:
        raise StartError(str(error)) from error
    except sqlite3.DatabaseError as error:
        raise StartError(
            f"the job store {settings.store_file} cannot be read ({error}): remove it, or give another --state-dir"
        ) from error
    config = uvicorn.Config(
        app,
        http=Protocol,
        ws="none",
        lifespan="on",
        proxy_headers=False,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=2,
    )
    return _Server(config)


async def _ended(parent: int | None) -> None:
    """Return when the process that started this one has ended; never for None and the first process of all."""
    while parent in (None, 0, 1) or os.getppid() == parent:
        await asyncio.sleep(_PARENT_CHECK_SECONDS)


@contextlib.contextmanager
def _sole_user(state: Path) -> Iterator[None]:
    """Hold the state directory: two servers on one job store would train every job twice."""
    with (state / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StartError(f"another local cloud is running on the state directory {state}") from None
        yield


def _check_host(host: str, *, allow_others: bool) -> None:
    """Raise StartError when other machines could reach ``host``, unless that is wanted."""
    address = socket.gethostbyname(host)
    if not (allow_others or ipaddress.ip_address(address).is_loopback):
        raise StartError(
            f"{host} ({address}) can be reached from other machines, and these servers guard nothing; "
            "add --allow-non-loopback if that is meant"
        )


def _listener(host: str, port: int) -> socket.socket:
    listener = socket.socket(proto=socket.IPPROTO_TCP)  # named, or asyncio leaves Nagle on: 40 ms for every answer
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise StartError(f"port {port} on {host} cannot be used for Vertex AI: {error}") from error
    return listener


def _announce(ready: dict[str, Any], path: Path | None) -> None:
    log.info("Vertex AI at %s, Cloud Storage at %s", ready["vertex_url"], ready["storage_url"])
    if path:
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        draft.write_text(json.dumps(ready, indent=2))
        draft.replace(path)


if __name__ == "__main__":
    sys.exit(main())
