"""What is added up over the blocks of a file, on the side of whoever reads its lines."""

from __future__ import annotations

import base64
import hashlib
import threading
from pathlib import Path

BLOCK = 256 * 1024  # few enough to stay in the processor's cache from one sum to the next


class Checksums:
    """sha256 and crc32c of bytes, and how many they are."""

    def __init__(self) -> None:
        from google_crc32c import Checksum

        self._sha256 = hashlib.sha256()
        self._crc32c = Checksum()
        self.bytes = 0

    def update(self, block: bytes) -> None:
        """Add a block."""
        self._sha256.update(block)
        self._crc32c.update(block)
        self.bytes += len(block)

    @property
    def sha256(self) -> str:
        """As hexadecimal digits."""
        return self._sha256.hexdigest()

    @property
    def crc32c(self) -> str:
        """As Cloud Storage prints it: base64 of the big-endian checksum."""
        return base64.b64encode(self._crc32c.digest()).decode()


class LineEnds:
    """Counts the lines that end as on Windows."""

    def __init__(self) -> None:
        self.windows = 0
        self._open = False  # the last block ended in a carriage return

    def update(self, block: bytes) -> None:
        """Add a block."""
        if b"\r" in block:  # looking for one byte is far faster than counting two
            self.windows += block.count(b"\r\n")
        if self._open and block.startswith(b"\n"):
            self.windows += 1
        if block:
            self._open = block.endswith(b"\r")


class HashingThread:
    """Reads a local file beside those who check it; hashing lets other threads run meanwhile."""

    def __init__(self, path: Path, *sums: Checksums | LineEnds) -> None:
        self._path = path
        self._sums = sums
        self._error: OSError | None = None
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="dataset-hash", daemon=True)

    def __enter__(self) -> HashingThread:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped = True
        self._thread.join()

    def join(self) -> None:
        """Wait until the whole file is read.

        :raises OSError: when it couldn't be read.
        """
        self._thread.join()
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            with self._path.open("rb", buffering=0) as stream:
                while not self._stopped and (block := stream.read(BLOCK)):
                    for one in self._sums:
                        one.update(block)
        except OSError as error:
            self._error = error
