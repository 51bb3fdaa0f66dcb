"""Keep short-lived heaps of objects away from Python's garbage collector.

A page of a hundred jobs is tens of thousands of objects of Google's client, all dropped a moment later. Were a
collection to come in between, they would count as long-lived, and soon bring about one of everything: in a process as
large as Airflow's that stops every thread, the event loop's too, for some tenths of a second.
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_lock = threading.Lock()
_inside = 0
_was_on = False


@contextmanager
def uncollected() -> Iterator[None]:
    """Collect nothing until the block is left, by every thread that is in one."""
    global _inside, _was_on  # the collector is the process's, too
    with _lock:
        if not _inside:
            _was_on = gc.isenabled()
            gc.disable()
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if not _inside and _was_on:
                gc.enable()
