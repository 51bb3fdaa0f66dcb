"""Points of a purchase and a wait at which a process may die, named so that a rehearsal can kill it there."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from enum import StrEnum

from gemini_tuning.settings import rehearsal


class Mark(StrEnum):
    """The points, in the order of a purchase."""

    BEFORE_LOOK = "before-look"
    BEFORE_INTENT = "before-intent"
    AFTER_INTENT = "after-intent"
    BEFORE_REQUEST = "before-request"
    AFTER_REQUEST = "after-request"
    BEFORE_NAME = "before-name"
    AFTER_NAME = "after-name"
    BEFORE_SETTLE = "before-settle"
    AFTER_SETTLE = "after-settle"
    BEFORE_CANCEL = "before-cancel"
    AFTER_CANCEL = "after-cancel"
    BEFORE_SETTLED = "before-settled"
    AFTER_SETTLED = "after-settled"


Reached = Callable[[Mark], None]


def reached(mark: Mark) -> None:
    """Do nothing, unless a rehearsal wants the process dead here: then kill it with SIGKILL, once.

    It does where the rehearsal's folder (``settings.rehearsal``) holds a file ``RUN/MARK`` for the running task's Dag
    run; the file is removed first.
    """
    folder = rehearsal()
    if folder is None:
        return
    try:
        (folder / os.environ.get("AIRFLOW_CTX_DAG_RUN_ID", "any") / mark).unlink()
    except FileNotFoundError:
        return
    os.kill(os.getpid(), signal.SIGKILL)
