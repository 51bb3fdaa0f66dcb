"""One process that owns all the others: starts them, notices when one ends, and takes all of them down with it.

It says what it is doing in ``stack.json`` and stops when it gets SIGTERM or SIGINT, when one of its components
ends (unless ``StackSettings.restart`` has it started again), or when its standard input closes: the command that
started it holds the other end, so however that command ends, ``kill -9`` included, the stack goes too. A line
``detach`` on standard input lets it stay (``make up``).
"""

from __future__ import annotations

import logging
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

from local_cloud.laptop.processes import end_marked, family, spawn
from local_cloud.laptop.settings import StackSettings
from local_cloud.laptop.state import StackState, hold_lock, make_private_folder

log = logging.getLogger(__name__)

ALREADY_RUNNING = 3
LOCAL_CLOUD = "local-cloud"
_TICK = 0.1
_GRACE = 3.0


class StackError(RuntimeError):
    """The stack could not be started, or one of its processes ended. Raised with one sentence for the user."""


class StopRequested(Exception):
    """Somebody asked the stack to stop: not an error."""


class Supervisor:
    """Starts components, waits for what they promise, watches them, ends them.

    :param settings: where the stack lives.
    """

    def __init__(self, settings: StackSettings) -> None:
        self.settings = settings
        self._state = StackState(phase="starting", supervisor=os.getpid())
        self._components: dict[str, subprocess.Popen[bytes]] = {}
        self._commands: dict[str, tuple[Sequence[str], Mapping[str, str]]] = {}
        self._stop_signal: signal.Signals | None = None
        self._detached = False

    def run(self, start: Callable[[Supervisor], Mapping[str, str]]) -> int:
        """Start the stack by ``start``, keep it until it is told to stop, and leave no process behind.

        :param start: brings the components up by ``spawn`` and ``wait_for``; returns the services' addresses.
        :return: the process's exit status.
        """
        make_private_folder(self.settings.state_dir)
        self.settings.logs.mkdir(exist_ok=True)
        lock = hold_lock(self.settings.lock_file)
        if lock is None:
            return ALREADY_RUNNING
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._on_signal)
        began = time.monotonic()
        outcome: dict[str, Any] = {"phase": "stopped", "detail": ""}
        try:
            self.say("ending what an earlier stack left behind")
            end_marked(self.mark, grace=_GRACE)
            services = dict(start(self))
            self._publish(phase="ready", detail="", seconds=time.monotonic() - began, services=services)
            while True:
                self._tick()
        except StopRequested as request:
            log.info("stopping: %s", request)
        except StackError as error:
            log.error("%s", error)
            outcome = {"phase": "failed", "detail": str(error)}
        except Exception as error:
            log.exception("the supervisor failed")
            outcome = {"phase": "failed", "detail": f"{error} (see {self.log_of('supervisor')})"}
        finally:
            self._stop()
            self._publish(**outcome, pids={})
            lock.close()
        return 0 if outcome["phase"] == "stopped" else 1

    @property
    def mark(self) -> str:
        """What each process of this stack carries in its environment."""
        return str(self.settings.state_dir)

    def log_of(self, name: str) -> Path:
        """The log file of a component."""
        return self.settings.logs / f"{name}.log"

    def say(self, detail: str) -> None:
        """Publish what is being done."""
        log.info("%s", detail)
        self._publish(detail=detail)

    def spawn(self, name: str, argv: Sequence[str], env: Mapping[str, str]) -> None:
        """Start a component that runs for as long as the stack; its end is the stack's end, unless it is restarted."""
        self.log_of(name).write_bytes(b"")
        self._commands[name] = (argv, env)
        self._start(name)

    def _start(self, name: str) -> None:
        argv, env = self._commands[name]
        self._components[name] = spawn(argv, env=env, cwd=self.settings.root, log=self.log_of(name))
        self._publish(pids={name: child.pid for name, child in self._components.items()})

    def run_once(self, name: str, argv: Sequence[str], env: Mapping[str, str], *, seconds: float) -> None:
        """Run a command to its end.

        :raises StackError: it failed, or took longer than ``seconds``.
        """
        self.log_of(name).write_bytes(b"")
        process = spawn(argv, env=env, cwd=self.settings.root, log=self.log_of(name))
        self.wait_for(lambda: process.poll() is not None, what=f"{name} to finish", seconds=seconds, log=name)
        if process.returncode:
            raise StackError(
                f"{name} failed (exit status {process.returncode}): {last_words(self.log_of(name))}; "
                f"the whole log is {self.log_of(name)}"
            )

    def wait_for(self, condition: Callable[[], bool], *, what: str, seconds: float, log: str) -> None:
        """Wait until a condition holds, while watching the components.

        :param log: the component whose log tells more when it doesn't.
        :raises StackError: it did not hold within ``seconds``, or a component ended.
        """
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                raise StackError(f"waited {seconds:.0f} s for {what}, in vain: see {self.log_of(log)}")
            self._tick()

    def _publish(self, **changes: Any) -> None:
        self._state = replace(self._state, **changes)
        self._state.write(self.settings.state_file)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._stop_signal = signal.Signals(number)

    def _tick(self) -> None:
        """Sleep a moment; raise when somebody asked for a stop or a component ended."""
        if self._detached:
            time.sleep(_TICK)
        elif select.select([sys.stdin], [], [], _TICK)[0]:
            self._obey(os.read(sys.stdin.fileno(), 64))
        if self._stop_signal:
            raise StopRequested(self._stop_signal.name)
        for name, process in list(self._components.items()):
            if process.poll() is not None:
                self._ended(name, _describe_exit(process.returncode))

    def _ended(self, name: str, how: str) -> None:
        """Start a component again where that is wanted; the local cloud never, as it would have another address."""
        if self.settings.restart and self._state.phase == "ready" and name != LOCAL_CLOUD:
            log.warning("the %s stopped (%s) and is started again", name, how)
            self._start(name)
            return
        raise StackError(
            f"the {name} stopped ({how}): {last_words(self.log_of(name))}; the whole log is {self.log_of(name)}"
        )

    def _obey(self, order: bytes) -> None:
        if not order:
            raise StopRequested("the command that started this stack has ended")
        if order.strip() == b"detach":
            self._detached = True
            self._publish(detached=True)

    def _stop(self) -> None:
        """Airflow first, so that its tasks can still reach the cloud while they end; then everything else.

        Airflow by itself would wait for its tasks, and for up to ten seconds for its triggers. Whoever stops a
        laptop's stack wants it stopped: its database survives that.
        """
        cloud = self._components.get(LOCAL_CLOUD)
        end_marked(self.mark, grace=_GRACE, spare=family(cloud.pid) if cloud else ())
        end_marked(self.mark, grace=_GRACE)
        self.settings.env_file.unlink(missing_ok=True)


def last_words(path: Path, *, limit: int = 300) -> str:
    """The last line of a log that says something, shortened."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return "it left no log"
    said = [line.strip() for line in lines if line.strip()]
    return said[-1][:limit] if said else "it said nothing"


def _describe_exit(status: int) -> str:
    return f"signal {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"
