"""Connections that can be cut: the one failure that an ASGI application cannot answer.

The protocol is uvicorn's over h11. h11 comes with every uvicorn, where httptools is an extra, so that the server
behaves the same wherever it is installed; and it bounds the headers it takes in (64 KiB), answering 400 beyond.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from uvicorn.protocols.http.h11_impl import H11Protocol

if TYPE_CHECKING:
    import asyncio

    from starlette.types import Receive, Scope

Address = tuple[str, int]

_open: dict[Address, asyncio.Transport] = {}


class Protocol(H11Protocol):
    """uvicorn's protocol, with its connection known by the client's address."""

    _connection: tuple[Address, asyncio.Transport]

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Remember the connection."""
        host, port, *_ = transport.get_extra_info("peername") or ("", 0)
        self._connection = (host, port), transport
        _open[host, port] = transport
        super().connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection, unless its address is in use again."""
        address, transport = self._connection
        if _open.get(address) is transport:
            del _open[address]
        super().connection_lost(exc)


async def cut(scope: Scope, receive: Receive) -> None:
    """Close the connection of a request; what was sent already still reaches the client."""
    transport = _open.get(tuple(scope["client"] or ()))
    if transport is None:
        return  # the client has hung up before
    transport.close()
    while (await receive())["type"] != "http.disconnect":  # uvicorn would answer 500 while it thinks the line is open
        pass
