"""Where this installation keeps its data; the only place that reads the project's environment variables."""

from __future__ import annotations

import os
import re
import sysconfig
from pathlib import Path
from typing import Literal, cast, get_args

from gemini_tuning.errors import ConfigError

WaitMode = Literal["deferrable", "reschedule"]

INCLUDE_VARIABLE = "GEMINI_TUNING_INCLUDE"
DATA_ROOT_VARIABLE = "GEMINI_TUNING_DATA_ROOT"
WAIT_MODE_VARIABLE = "GEMINI_TUNING_WAIT_MODE"
SETTLE_VARIABLE = "GEMINI_TUNING_SETTLE_SECONDS"
REQUEST_VARIABLE = "GEMINI_TUNING_REQUEST_SECONDS"
RETRY_VARIABLE = "GEMINI_TUNING_RETRY_SECONDS"
REHEARSAL_VARIABLE = "GEMINI_TUNING_REHEARSAL"
INSTALLATION_VARIABLE = "GEMINI_TUNING_INSTALLATION"
REAP_VARIABLE = "GEMINI_TUNING_REAP"


def include_root() -> Path:
    """Return the folder of pipelines, suites, schemas and the models table.

    ``GEMINI_TUNING_INCLUDE``, or ``include/`` beside the ``plugins/`` folder this package lies in. Installed without
    the repository, as for a pre-commit hook, it holds the schemas and the models table only.
    """
    beside = Path(__file__).resolve().parents[2] / "include"
    installed = Path(sysconfig.get_path("data"), "share", "gemini-tuning")
    return _folder(INCLUDE_VARIABLE, beside if beside.is_dir() else installed)


def data_root() -> Path:
    """Return the one folder local datasets may come from: ``GEMINI_TUNING_DATA_ROOT`` or ``include/datasets``."""
    return _folder(DATA_ROOT_VARIABLE, include_root() / "datasets")


def wait_mode() -> WaitMode:
    """Return how pipelines wait unless they say so themselves: ``GEMINI_TUNING_WAIT_MODE``, or deferrable.

    :raises ConfigError: when the variable holds another word.
    """
    mode = os.environ.get(WAIT_MODE_VARIABLE, "deferrable")
    if mode not in get_args(WaitMode):
        raise ConfigError(f"{WAIT_MODE_VARIABLE} is {mode!r}; write one of {', '.join(get_args(WaitMode))}.")
    return cast("WaitMode", mode)


def settle_seconds() -> float:
    """Return how long a new job may be missing from the service's list: ``GEMINI_TUNING_SETTLE_SECONDS``, or 45.

    :raises ConfigError: when the variable holds no such number.
    """
    return _seconds(SETTLE_VARIABLE, 45.0)


def request_seconds() -> float:
    """Return how long the service may still act on a lost request: ``GEMINI_TUNING_REQUEST_SECONDS``, or 60.

    :raises ConfigError: when the variable holds no such number.
    """
    return _seconds(REQUEST_VARIABLE, 60.0)


def retry_seconds() -> float:
    """Return how long the first retry of a task waits: ``GEMINI_TUNING_RETRY_SECONDS``, or 15.

    :raises ConfigError: when the variable holds no such number.
    """
    return _seconds(RETRY_VARIABLE, 15.0)


def rehearsal() -> Path | None:
    """Return the folder in which a rehearsal says where a process is to die: ``GEMINI_TUNING_REHEARSAL``, or None."""
    configured = os.environ.get(REHEARSAL_VARIABLE)
    return Path(configured) if configured else None


def installation() -> str | None:
    """Return the name on the label of all jobs of this Airflow: ``GEMINI_TUNING_INSTALLATION``, or None.

    :raises ConfigError: when it isn't fit for a label.
    """
    name = os.environ.get(INSTALLATION_VARIABLE, "")
    if not re.fullmatch(r"[a-z0-9_-]{0,63}", name):
        raise ConfigError(
            f"{INSTALLATION_VARIABLE} is {name!r}; a label takes at most 63 lower-case letters, digits, '_' and '-'."
        )
    return name or None


def reaps() -> bool:
    """Return whether scheduled runs of the reaper cancel: ``GEMINI_TUNING_REAP`` is ``cancel``, or ``report`` (unset).

    :raises ConfigError: when the variable holds another word.
    """
    word = os.environ.get(REAP_VARIABLE) or "report"
    if word not in {"report", "cancel"}:
        raise ConfigError(f"{REAP_VARIABLE} is {word!r}; write report or cancel.")
    return word == "cancel"


def _seconds(variable: str, default: float) -> float:
    configured = os.environ.get(variable) or str(default)
    try:
        seconds = float(configured)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < 86_400:
        raise ConfigError(f"{variable} is {configured!r}; write a number of seconds, from 0 to a day.")
    return seconds


def _folder(variable: str, default: Path) -> Path:
    configured = os.environ.get(variable)
    return Path(configured).expanduser().resolve() if configured else default
