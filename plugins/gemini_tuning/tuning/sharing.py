"""The pollers of this process: one for each event loop and connection."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from weakref import WeakKeyDictionary

from gemini_tuning.tuning.polling import Poller
from gemini_tuning.tuning.watching import Source

_pollers: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Hashable, Poller]] = WeakKeyDictionary()


def shared_poller(key: Hashable, connect: Callable[[], Source]) -> Poller:
    """Return the running event loop's poller for a key, such as connection, project and location.

    :param connect: used when there is none yet; the same key must stand for the same source.
    """
    pollers = _pollers.setdefault(asyncio.get_running_loop(), {})
    if key not in pollers:
        pollers[key] = Poller(connect)
    return pollers[key]
