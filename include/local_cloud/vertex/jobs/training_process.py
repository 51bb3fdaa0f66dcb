"""The child process that does the work of a job, so that the server goes on answering meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import local_cloud

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_EVENT_BYTES = 2**26
_ONE_THREAD = dict.fromkeys(
    (
        "OMP_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "MKL_NUM_THREADS",
        "VECLIB_MAXIMUM_THREADS",
        "NUMEXPR_NUM_THREADS",
    ),
    "1",
)


@contextlib.asynccontextmanager
async def training_process(
    directory: Path, stage: str, step_seconds: float
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Start the trainer on a stage of a job directory, ``prepare`` or ``train``.

    It is gone when the context ends, however it ends. ``step_seconds`` is the least time that a training step takes.
    """
    command = (sys.executable, "-m", "local_cloud.vertex.training.trainer", stage, str(directory), str(os.getpid()))
    package_root = str(Path(local_cloud.__file__).parent.parent)
    path = os.pathsep.join(filter(None, (package_root, os.environ.get("PYTHONPATH"))))
    with (directory / "training.log").open("w") as log_file:
        process = await asyncio.create_subprocess_exec(
            *command,
            str(step_seconds),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log_file,
            env={**os.environ, **_ONE_THREAD, "PYTHONPATH": path},
            limit=_EVENT_BYTES,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
