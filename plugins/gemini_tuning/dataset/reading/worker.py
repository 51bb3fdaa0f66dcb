"""Processes that check ranges of a file for another one, which names their file descriptors on the command line.

Each reads requests from one file descriptor and writes one answer to each to another, both as MessagePack after eight
bytes of length. A program of its own works where a pool of the standard library doesn't: inside the daemonic workers of
some executors, and beside threads, which must not be forked. Itself it has none: it forks once everything is loaded,
which takes longer than checking 50,000 lines.
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
from gemini_tuning.dataset.reading.source import reading
from gemini_tuning.errors import UnusableInputError

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
        with reading(task.path), Path(task.path).open("rb", buffering=_BUFFER) as stream:
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
        try:
            scanned = scan(task, scanner)
        except UnusableInputError:
            return  # who asked tries it too, and says so
        send(answers, scanned)


def main() -> None:
    """Serve on each pair of file descriptors that the arguments name, in a process of its own."""
    ends = list(map(int, sys.argv[1:]))
    pairs = list(zip(ends[::2], ends[1::2], strict=True))
    children: list[int] = []
    while len(pairs) > 1:
        last = pairs.pop()
        child = os.fork()
        if child == 0:
            _close(pairs)
            pairs, children = [last], []
        else:
            _close([last])
            children.append(child)
    with os.fdopen(pairs[0][0], "rb") as requests, os.fdopen(pairs[0][1], "wb") as answers:
        serve(requests, answers)
    for child in children:
        os.waitpid(child, 0)


def _close(pairs: list[tuple[int, int]]) -> None:
    for pair in pairs:
        for end in pair:
            os.close(end)


if __name__ == "__main__":
    main()
