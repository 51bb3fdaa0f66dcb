"""Open a dataset where it lies, on disk or in Cloud Storage, as a stream of bytes."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedReader, FileIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gemini_tuning.errors import ConfigError, UnusableInputError
from gemini_tuning.google_errors import google_errors

if TYPE_CHECKING:
    from google.api_core.retry import Retry
    from google.cloud.storage import Blob, Client

LARGEST_LINE = 16 * 1024 * 1024  # bytes
RETRY_SECONDS = 10.0  # the client alone would go on for two minutes, and Airflow retries the task besides
_HERE = Path()
_CHUNK = 8 * 1024 * 1024  # bytes asked for at a time; the client holds a few times as many
_BUFFER = 1024 * 1024


@dataclass(frozen=True)
class OpenSource:
    """An open dataset: its reference as written, its bytes and their number.

    ``path`` and ``modified`` (nanoseconds) are set for a file on disk, ``generation`` for an object in Cloud Storage.
    """

    reference: str
    stream: BufferedReader[Any]
    size: int
    path: Path | None = None
    modified: int | None = None
    generation: int | None = None


def in_cloud_storage(reference: str) -> bool:
    """Whether a dataset reference names an object in Cloud Storage."""
    return reference.startswith("gs://")


def split_uri(uri: str) -> tuple[str, str]:
    """Return bucket and object name of ``gs://bucket/object``.

    :raises ConfigError: when one of them is missing.
    """
    bucket, _, name = uri.removeprefix("gs://").partition("/")
    if not bucket or not name:
        raise ConfigError(f"{uri!r} is not an object in Cloud Storage; write gs://bucket/path/file.jsonl.")
    return bucket, name


def local_file(reference: str, root: Path | None) -> Path:
    """Return the file a reference means.

    :param root: the folder it must lie in, also after links are followed; None = anywhere, seen from here.
    :raises UnusableInputError: when it is missing, no file, unreadable, or outside the root.
    """
    if "\0" in reference:
        raise UnusableInputError(f"{reference!r}: no file is called that; check the path.")
    named = (root or _HERE) / reference
    with reading(reference):
        path = Path(os.path.realpath(named))
        if root is not None and not path.is_relative_to(os.path.realpath(root)):
            raise UnusableInputError(
                f"{reference}: lies outside the data root {root}; put the file there, or set GEMINI_TUNING_DATA_ROOT."
            )
        try:
            mode = named.stat().st_mode
        except (FileNotFoundError, NotADirectoryError):
            if reference == "-":
                sentence = "-: stdin is not read, for a dataset is read more than once; save it to a file first."
                raise UnusableInputError(sentence) from None
            raise UnusableInputError(f"{reference}: no such file (looked at {path}); check the path.") from None
        if stat.S_ISDIR(mode):
            raise UnusableInputError(f"{reference}: is a folder, not a file; name the JSONL file in it.")
        if not stat.S_ISREG(mode):
            raise UnusableInputError(
                f"{reference}: is a pipe or a device, and a dataset is read more than once; save it to a file first."
            )
        if not os.access(path, os.R_OK):
            raise UnusableInputError(f"{reference}: can't be read by this user; check the file's permissions.")
    return path


@contextmanager
def reading(reference: str) -> Iterator[None]:
    """Word what the file system raises where a dataset is looked for and read.

    :raises UnusableInputError: in place of any such error.
    """
    try:
        yield
    except OSError as error:
        raise UnusableInputError(f"{reference}: can't be read: {error.strerror or error}; check the file.") from None


class _File(FileIO):
    """A file whose read errors are told from those of whatever else is open."""

    def __init__(self, path: Path, reference: str) -> None:
        super().__init__(path)
        self._reference = reference

    def readinto(self, buffer: Any, /) -> int:
        with reading(self._reference):
            return super().readinto(buffer)


@contextmanager
def open_source(reference: str, *, root: Path | None, storage: Callable[[], Client]) -> Iterator[OpenSource]:
    """Open a dataset for one pass from the start.

    :param reference: a local path, or ``gs://bucket/object``.
    :param root: see ``local_file``.
    :param storage: makes a Cloud Storage client; called for ``gs://`` only.
    :raises UnusableInputError: when there is nothing to read.
    :raises TransientError: when Cloud Storage can't be reached.
    """
    if not reference:
        raise UnusableInputError("no dataset is named; write the path of a JSONL file, or gs://bucket/path/file.jsonl.")
    if not in_cloud_storage(reference):
        path = local_file(reference, root)
        with reading(reference):
            raw = _File(path, reference)
        with BufferedReader(raw, _BUFFER) as stream:
            found = os.fstat(stream.fileno())
            yield OpenSource(reference, stream, found.st_size, path, modified=found.st_mtime_ns)
        return
    with google_errors(f"Reading {reference}"):
        blob = find_object(storage(), reference)
        if blob is None:
            raise UnusableInputError(
                f"{reference}: no such object; check bucket and path, and that the connection's account may read it."
            )
        # the client's reader alone would be read byte by byte, for it can't look ahead
        with BufferedReader(blob.open("rb", chunk_size=_CHUNK, retry=storage_retry()), _BUFFER) as stream:
            yield OpenSource(reference, stream, blob.size, generation=blob.generation)


def find_object(client: Client, uri: str) -> Blob | None:
    """Return the object of a ``gs://`` URI as it is now, or None."""
    bucket, name = split_uri(uri)
    return client.bucket(bucket).get_blob(name, retry=storage_retry())


def storage_retry() -> Retry:
    """Return how calls to Cloud Storage are retried: the client's own rule, for a bounded time."""
    from google.cloud.storage.retry import DEFAULT_RETRY

    return DEFAULT_RETRY.with_timeout(RETRY_SECONDS)
