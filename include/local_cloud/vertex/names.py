"""Resource names, ids and times, the way Vertex AI writes them."""

from __future__ import annotations

import re
import secrets
import zlib
from datetime import UTC, datetime

_NUMBERS: dict[str, str] = {}
DISPLAY_NAME_LENGTH = 128
"""Of tuned models, at the most."""

_PROJECT = re.compile(r"projects/([^/]+)(?=/)")


def now() -> str:
    """Return the present as an RFC 3339 timestamp with microseconds and ``Z``."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def new_id() -> str:
    """Return a random 19-digit id, the form of jobs, models and endpoints."""
    return str(10**18 + secrets.randbelow(8 * 10**18))


def assign_project_number(project: str, number: str) -> None:
    """Give a project this number instead of a derived one. Done once, when the server starts."""
    _NUMBERS[project] = number


def project_number(project: str) -> str:
    """Return the project number behind a project id; a number stands for itself.

    Requests carry the id, answers the number. The number is derived, so that it is the same after every restart.
    """
    if project.isdecimal():
        return project
    return _NUMBERS.get(project) or str(10**11 + zlib.crc32(project.encode()) * 200)


def location_name(project: str, location: str) -> str:
    """Return ``projects/{number}/locations/{location}``, the parent of everything regional."""
    return f"projects/{project_number(project)}/locations/{location}"


def numbered(name: str) -> str:
    """Return a resource name, or anything else, with the project's number in place of its id."""
    match = _PROJECT.match(name)
    return f"projects/{project_number(match[1])}{name[match.end() :]}" if match else name


def derived_id(*parts: str) -> str:
    """Return a number that always is the same for the same ``parts``."""
    return str(10**18 + zlib.crc32("/".join(parts).encode()) * 10**9)
