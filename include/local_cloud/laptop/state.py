"""What the supervisor says about itself: one JSON file to read, one lock to know that it is alive."""

from __future__ import annotations

import fcntl
import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any, Literal

Phase = Literal["starting", "ready", "failed", "stopped"]


@dataclass(frozen=True, kw_only=True)
class StackState:
    """The contents of ``stack.json``.

    :param phase: ``failed`` means that the stack has stopped or is stopping because of ``detail``.
    :param detail: what is being done, or the one sentence that says what went wrong and which log tells more.
    :param supervisor: process id of the supervisor.
    :param detached: True when the stack outlives the command that started it (``make up``).
    :param seconds: start-up time once ready.
    :param services: addresses and paths: ``airflow_url``, ``vertex_url``, ``storage_url``, ``credentials_path``.
    :param pids: process id of each component.
    """

    phase: Phase
    detail: str = ""
    supervisor: int = 0
    detached: bool = False
    seconds: float = 0.0
    services: dict[str, str] = field(default_factory=dict)
    pids: dict[str, int] = field(default_factory=dict)

    def write(self, path: Path) -> None:
        """Replace the file in one step: a reader sees the old or the new state, never half of one."""
        write_private(path, json.dumps(asdict(self), indent=2) + "\n")

    @classmethod
    def read(cls, path: Path) -> StackState | None:
        """The state in the file, or None when there is none or it is not a state."""
        try:
            values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            return cls(**values)
        except (OSError, ValueError, TypeError):
            return None


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read (0600), in one step."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    temporary.replace(path)


def make_private_folder(path: Path) -> None:
    """Make a folder that only its owner can enter: keys, passwords and datasets lie in it."""
    path.mkdir(parents=True, exist_ok=True)
    path.chmod(0o700)


def hold_lock(path: Path) -> IO[str] | None:
    """Take the lock, or None when somebody holds it. The kernel frees it when its holder dies, however it dies."""
    file = path.open("a", encoding="utf-8")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        return None
    return file


def is_locked(path: Path) -> bool:
    """True when a supervisor is alive: process ids can be reused, a lock can't."""
    if not path.exists():
        return False
    lock = hold_lock(path)
    if lock is None:
        return True
    lock.close()
    return False
