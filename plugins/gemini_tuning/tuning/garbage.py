"""Keep Python's garbage collector from stopping every thread, the event loop's too, for some tenths of a second.

A page of a hundred jobs is tens of thousands of objects of Google's client, all dropped a moment later. Were a
collection to come in between, they would count as long-lived, and soon bring about one of everything. Such a one comes
now and then all the same, and takes the longer the more objects there are: in a process as large as Airflow's most of
them are modules, classes and schemas that stay anyway.
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_lock = threading.Lock()
_inside = 0
_was_on = False


def settle() -> None:
    """Leave what there is now out of all collections to come; it is freed as usual, but for unused cycles."""
    gc.freeze()


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
