"""Start, use and stop a stack from another process.

``running_stack`` is the whole of it::

    with running_stack(project_settings()) as stack:
        stack.api.post("/dags/tune_support_replies/dagRuns", {"logical_date": None})
"""

from __future__ import annotations

import contextlib
import logging
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

from local_cloud.laptop import airflow_home
from local_cloud.laptop.airflow_api import AirflowApi
from local_cloud.laptop.environment import airflow_environment, cloud_environment
from local_cloud.laptop.processes import end_marked, marked
from local_cloud.laptop.settings import StackSettings
from local_cloud.laptop.state import StackState, is_locked, make_private_folder
from local_cloud.laptop.supervisor import ALREADY_RUNNING, StackError

log = logging.getLogger(__name__)

SUPERVISE = ("-m", "local_cloud.laptop", "supervise")

_POLL = 0.1
_STOP_SECONDS = 30.0


@dataclass(frozen=True)
class Stack:
    """A running stack.

    :param settings: where it lives.
    :param state: what its supervisor said when it was ready.
    """

    settings: StackSettings
    state: StackState

    @cached_property
    def api(self) -> AirflowApi:
        """Airflow's REST API, logged in as the admin."""
        return AirflowApi(self.airflow_url, username=airflow_home.ADMIN, password=self.password)

    @property
    def airflow_url(self) -> str:
        """The Airflow UI and API."""
        return self.state.services["airflow_url"]

    @property
    def vertex_url(self) -> str:
        """The local Vertex AI."""
        return self.state.services["vertex_url"]

    @property
    def storage_url(self) -> str:
        """The local Cloud Storage."""
        return self.state.services["storage_url"]

    @property
    def credentials_path(self) -> str:
        """The generated service-account file."""
        return self.state.services["credentials_path"]

    @property
    def password(self) -> str:
        """The admin's password."""
        return airflow_home.password(self.settings)

    @property
    def env(self) -> dict[str, str]:
        """The environment the Airflow processes run in."""
        return airflow_environment(self.settings, self.state.services)

    def check(self) -> None:
        """Make sure that the stack is still whole.

        :raises StackError: it isn't; says which part ended and which log tells more.
        """
        state = StackState.read(self.settings.state_file)
        if state is None or state.phase != "ready" or not is_locked(self.settings.lock_file):
            raise StackError(_why_gone(self.settings, state))


def attach(settings: StackSettings) -> Stack | None:
    """The stack that is running already, or None."""
    if not is_locked(settings.lock_file):
        return None
    state = StackState.read(settings.state_file)
    return Stack(settings, state) if state is not None and state.phase == "ready" else None


@contextlib.contextmanager
def running_stack(settings: StackSettings, *, on_progress: Callable[[str], None] | None = None) -> Iterator[Stack]:
    """A stack for the time of a ``with`` block; nothing of it is left afterwards, however the block ends.

    :param on_progress: called with each new thing that the start is busy with.
    :raises StackError: the stack could not be started; one sentence says what and where to look.
    """
    supervisor = _launch(settings)
    try:
        yield Stack(settings, _await_ready(settings, supervisor, on_progress))
    finally:
        _shut_down(settings, supervisor)


def start_detached(settings: StackSettings, *, on_progress: Callable[[str], None] | None = None) -> Stack:
    """Start a stack that stays until ``stop`` is called; a failed or interrupted start leaves nothing behind.

    :raises StackError: the stack could not be started.
    """
    supervisor = _launch(settings)
    try:
        _await_ready(settings, supervisor, on_progress)
        assert supervisor.stdin is not None  # noqa: S101 - it was asked for
        supervisor.stdin.write(b"detach\n")
        supervisor.stdin.flush()
        return Stack(settings, _await(settings, supervisor, lambda state: state.detached, None))
    except BaseException:
        _shut_down(settings, supervisor)
        raise


def stop(settings: StackSettings) -> bool:
    """Stop whatever of this stack is running, left-overs of a crash included. Doing it twice does no harm.

    :return: False when nothing was running.
    """
    state = StackState.read(settings.state_file)
    was_running = bool(marked(str(settings.state_dir)))
    if is_locked(settings.lock_file) and state is not None:
        for process in marked(str(settings.state_dir)):
            if process.pid == state.supervisor:
                process.terminate()
        deadline = time.monotonic() + _STOP_SECONDS
        while is_locked(settings.lock_file) and time.monotonic() < deadline:
            time.sleep(_POLL)
    end_marked(str(settings.state_dir), grace=1.0)
    return was_running


def _launch(settings: StackSettings) -> subprocess.Popen[bytes]:
    if is_locked(settings.lock_file):
        raise StackError(_already_running(settings))
    make_private_folder(settings.state_dir)
    settings.logs.mkdir(exist_ok=True)
    argv = [sys.executable, *SUPERVISE, settings.to_json()]
    with (settings.logs / "supervisor.log").open("ab") as output:
        return subprocess.Popen(
            argv,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=settings.root,
            env=cloud_environment(settings),
            start_new_session=True,  # Ctrl-C reaches the command, which then tells the supervisor
        )


def _await_ready(
    settings: StackSettings, supervisor: subprocess.Popen[bytes], on_progress: Callable[[str], None] | None
) -> StackState:
    return _await(settings, supervisor, lambda state: state.phase == "ready", on_progress)


def _await(
    settings: StackSettings,
    supervisor: subprocess.Popen[bytes],
    condition: Callable[[StackState], bool],
    on_progress: Callable[[str], None] | None,
) -> StackState:
    """Follow ``stack.json``; the supervisor keeps its own deadlines, so this one ends too."""
    said = ""
    while True:
        ended = supervisor.poll() is not None
        state = StackState.read(settings.state_file)
        if state is not None and state.supervisor == supervisor.pid:
            if condition(state):
                return state
            if state.phase == "starting" and state.detail != said and on_progress:
                said = state.detail
                on_progress(said)
        if ended:
            if supervisor.returncode == ALREADY_RUNNING:
                raise StackError(_already_running(settings))
            raise StackError(_why_gone(settings, state))
        time.sleep(_POLL)


def _already_running(settings: StackSettings) -> str:
    return f"another stack runs in {settings.state_dir} already: wait for it to end, or stop it by `make down`"


def _why_gone(settings: StackSettings, state: StackState | None) -> str:
    if state is not None and state.phase == "failed":
        return state.detail
    if state is not None and state.phase == "stopped":
        return "the stack was stopped"
    return f"the stack's supervisor was ended from outside; its log is {settings.logs / 'supervisor.log'}"


def _shut_down(settings: StackSettings, supervisor: subprocess.Popen[bytes]) -> None:
    """Tell the supervisor to stop, wait for it, and look after it. A second Ctrl-C must not cut this short."""
    with _no_interruptions():
        with contextlib.suppress(OSError):
            assert supervisor.stdin is not None  # noqa: S101 - it was asked for
            supervisor.stdin.close()
        try:
            supervisor.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            log.warning("the supervisor did not stop within %.0f s and is killed", _STOP_SECONDS)
            supervisor.kill()
            supervisor.wait()
        if supervisor.returncode != ALREADY_RUNNING:  # then what runs there is another command's
            end_marked(str(settings.state_dir), grace=1.0)


@contextlib.contextmanager
def _no_interruptions() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
