"""A process that checks ranges of a file for another one: ``python -m gemini_tuning.dataset.reading.worker``.

Reads requests from stdin and writes one answer to each on stdout, both as MessagePack after eight bytes of length.
A plain child process works where a pool of the standard library doesn't: inside the daemonic workers of some executors,
and beside threads, which must not be forked.
"""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path
from typing import BinaryIO

import msgspec

from gemini_tuning.dataset.lines.rules import Rules
from gemini_tuning.dataset.reading.scanning import Scanned, Scanner

_BUFFER = 256 * 1024
_LENGTH_BYTES = 8


class Task(msgspec.Struct):
    """A range to check: of a file on disk, or ``data`` itself. ``rules`` come with the first task of each file."""

    path: str = ""
    start: int = 0
    size: int = 0
    data: bytes = b""
    rules: Rules | None = None


_decode_task = msgspec.msgpack.Decoder(Task).decode


def scan(task: Task, scanner: Scanner) -> Scanned:
    """Check the range of a task."""
    if task.path:
        with Path(task.path).open("rb", buffering=_BUFFER) as stream:
            stream.seek(task.start)
            return scanner.scan(stream, task.size)
    return scanner.scan(io.BytesIO(task.data), len(task.data))


def send(stream: BinaryIO, message: msgspec.Struct) -> None:
    """Write one message."""
    payload = msgspec.msgpack.encode(message)
    stream.write(len(payload).to_bytes(_LENGTH_BYTES, "big"))
    stream.write(payload)
    stream.flush()


def receive(stream: BinaryIO) -> bytes:
    """Read one message; empty at the end of the stream.

    :raises EOFError: when the stream ends in the middle of a message.
    """
    head = stream.read(_LENGTH_BYTES)
    size = int.from_bytes(head, "big")
    payload = stream.read(size)
    if len(payload) < size or 0 < len(head) < _LENGTH_BYTES:
        raise EOFError("the stream ended in the middle of a message")
    return payload


def serve(requests: BinaryIO, answers: BinaryIO) -> None:
    """Answer tasks until there are no more."""
    scanner = Scanner(Rules(), explains=False)
    while payload := receive(requests):
        task = _decode_task(payload)
        if task.rules is not None:
            scanner = Scanner(task.rules, explains=False)
        send(answers, scan(task, scanner))


def main() -> None:
    """Serve on stdin and stdout; whatever is printed by accident goes to stderr."""
    with os.fdopen(os.dup(sys.stdout.fileno()), "wb") as answers:
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        serve(sys.stdin.buffer, answers)


if __name__ == "__main__":
    main()
