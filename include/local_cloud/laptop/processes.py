"""Start processes so that they can be found again, and end every one of them.

Each process of a stack carries the stack's state folder in its environment, and so do all of its children.
That mark, and not a process id from a file, decides what belongs to a stack: an id may have been given to
somebody else since, and the workers of a killed scheduler have ids that nobody wrote down.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

import psutil

MARK = "GEMINI_TUNING_STACK"
_PR_SET_PDEATHSIG = 1


def spawn(argv: Sequence[str], *, env: Mapping[str, str], cwd: Path, log: Path) -> subprocess.Popen[bytes]:
    """Start a process with exactly this environment, its output in ``log``, deaf to the terminal's Ctrl-C.

    On Linux the kernel asks it to end (SIGTERM) when the process that started it dies.
    """
    with log.open("ab") as output:
        return subprocess.Popen(
            list(argv),
            env=dict(env),
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=_die_with_parent(os.getpid()),  # safe: the supervisor has one thread
        )


def marked(mark: str) -> list[psutil.Process]:
    """Every living process of the stack with this mark, except the calling one and its parents."""
    own = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    found: dict[int, psutil.Process] = {}
    for process in psutil.process_iter():
        if process.pid in own or process.pid in found or not _carries(process, mark):
            continue
        found[process.pid] = process
        # A child started with an environment of its own still belongs to its parent.
        with contextlib.suppress(psutil.Error):
            found.update({child.pid: child for child in process.children(recursive=True)})
    return [process for process in found.values() if _alive(process)]


def end_marked(mark: str, *, grace: float = 3.0, spare: Collection[int] = ()) -> list[int]:
    """End the processes of the stack: SIGTERM, and SIGKILL for what is left after ``grace`` seconds.

    :param spare: ids of processes to leave alone.
    :return: the ids of the processes that were found.
    """

    def found() -> list[psutil.Process]:
        return [process for process in marked(mark) if process.pid not in spare]

    left = found()
    ended = [process.pid for process in left]
    _signal_all(left, signal.SIGTERM)
    deadline = time.monotonic() + grace
    while (left := found()) and time.monotonic() < deadline:
        time.sleep(0.05)
    # A process may fork while it is being killed, so look again until nobody is found.
    while left:
        _signal_all(left, signal.SIGKILL)
        time.sleep(0.02)
        left = found()
    return ended


def family(pid: int) -> set[int]:
    """The ids of a process and of everything it started; empty when it is gone."""
    try:
        process = psutil.Process(pid)
        return {pid, *(child.pid for child in process.children(recursive=True))}
    except psutil.Error:
        return set()


def _carries(process: psutil.Process, mark: str) -> bool:
    try:
        return bool(process.environ().get(MARK) == mark)
    except (psutil.Error, OSError):
        return False


def _alive(process: psutil.Process) -> bool:
    try:
        alive: bool = process.is_running() and process.status() != psutil.STATUS_ZOMBIE
        return alive
    except psutil.Error:
        return False


def _signal_all(processes: Sequence[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.send_signal(number)


def _die_with_parent(parent: int) -> Callable[[], None] | None:
    if not sys.platform.startswith("linux"):
        return None  # elsewhere the mark finds what is left
    libc = ctypes.CDLL(None)

    def request() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # it died before the request
            os._exit(1)

    return request
