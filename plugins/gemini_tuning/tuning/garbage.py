"""Keep Python's garbage collector from stopping every thread, the event loop's too, for some tenths of a second.

A page of a hundred jobs is tens of thousands of objects of Google's client, all dropped a moment later. Were a
collection to come in between, they would count as long-lived, and soon bring about one of everything. Such a one comes
now and then all the same, and takes the longer the more objects there are: in a process as large as Airflow's most of
them are modules, classes and schemas that stay anyway.
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")

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


def settled(load: Callable[[], T]) -> T:
    """Return what a call returns that loads much which stays; leave all there is by then out of later collections.

    It is freed as usual, but for cycles that nobody uses any more.
    """
    with uncollected():
        loaded = load()
        gc.freeze()
    return loaded
