"""Ties a child process to its parent: when the parent ends, however it ends, the child ends too.

Linux does this in the kernel (``prctl(PR_SET_PDEATHSIG)``, kept across ``execve``). Elsewhere a thread looks for a
changed parent once a second, which only helps Python children.

Run as a script, it ties itself to its parent and then becomes another program::

    python lifeline.py PARENT_PID PROGRAM ARGUMENT...
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time

_PR_SET_PDEATHSIG = 1


def end_with_parent(parent: int) -> None:
    """Have this process killed when the process ``parent`` ends.

    The signal follows the *thread* that started the child, so start children from the main thread.
    Exits at once when the parent is already gone.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))
    else:
        threading.Thread(target=_watch, args=(parent,), daemon=True).start()
    if os.getppid() != parent:
        os._exit(1)


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def command(program: str, *arguments: str) -> list[str]:
    """Return the command line that runs ``program`` tied to the calling process."""
    return [sys.executable, "-S", __file__, str(os.getpid()), program, *arguments]


if __name__ == "__main__":
    end_with_parent(int(sys.argv[1]))
    os.execv(sys.argv[2], sys.argv[2:])  # noqa: S606 (no shell is wanted: this is the program itself)
