"""Datasets in the local Cloud Storage: fetched and given a first look when a job is created.

Vertex AI opens the dataset while it answers the create call: it names the first bad row there and then. So this is
also where a missing object surfaces, as a 400 and not as a job that fails later.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import httpx

from local_cloud.vertex.errors import ApiError, failed_precondition, invalid_argument
from local_cloud.vertex.statistics import system_instruction
from local_cloud.vertex.strict_json import read_json

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_URI = re.compile(r"gs://([^/]+)/(.+\.jsonl)")


def check_uri(field: str, uri: str) -> None:
    """Raise ApiError 400 unless ``uri`` can be a JSONL object; ``field`` is the proto name it came in."""
    if not _URI.fullmatch(uri):
        raise invalid_argument(f"`{field}` should be a GCS object of type JSONL, got: {uri!r}.")


def fetch(storage_url: str, uri: str, target: Path) -> None:
    """Copy the object at ``uri`` to the file ``target`` and check its rows.

    Raises:
        ApiError: 400 for a missing object, an empty one or a bad row; 503 when the storage server does not answer.
    """
    match = _URI.fullmatch(uri)
    if match is None:
        raise ValueError(f"not a checked dataset URI: {uri}")
    bucket, name = match.groups()
    url = f"{storage_url}/storage/v1/b/{quote(bucket, safe='')}/o/{quote(name, safe='')}?alt=media"
    try:
        with httpx.stream("GET", url, timeout=60, trust_env=False) as response:
            if response.status_code == httpx.codes.NOT_FOUND:
                raise failed_precondition(f"The Cloud Storage object {uri} was not found or cannot be read.")
            response.raise_for_status()
            with target.open("wb") as file:
                for block in response.iter_bytes():
                    file.write(block)
    except httpx.HTTPError as error:
        raise ApiError(503, f"Cloud Storage could not be read for {uri}: {error}") from error
    _check_rows(target, uri)


def rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the 0-based number and the object of each row; lines of white space do not count.

    Raises:
        ValueError: a row is not a JSON object; the message is the one that Vertex AI's row errors begin with.
    """
    number = 0
    with path.open("rb") as file:
        for line in file:
            if not line.strip():
                continue
            try:
                row = read_json(line)
            except ValueError as error:
                raise ValueError(f"Row: {number}. Invalid JSON: {error}.") from error
            if not isinstance(row, dict):
                raise ValueError(f"Row: {number}. Expected a JSON object.")
            yield number, row
            number += 1


def _check_rows(path: Path, uri: str) -> None:
    count = 0
    try:
        for number, row in rows(path):
            if not (isinstance(row.get("contents"), list) and row["contents"]):
                raise ValueError(f"Row: {number}. Missing required `contents` field.")
            if not all(map(_is_content, [*row["contents"], system_instruction(row) or {"parts": []}])):
                raise ValueError(
                    f"Row: {number}. Every item of `contents` needs a list of `parts` of text or other data."
                )
            count += 1
    except ValueError as error:
        raise invalid_argument(str(error)) from error
    if not count:
        raise invalid_argument(f"The dataset {uri} has no examples.")


def _is_content(value: Any) -> bool:
    parts = value.get("parts") if isinstance(value, dict) else None
    return isinstance(parts, list) and all(
        isinstance(part, dict) and isinstance(part.get("text", ""), str) for part in parts
    )
