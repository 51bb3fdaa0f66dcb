"""Datasets in the local Cloud Storage: fetched and given a first look when a job is created.

Vertex AI opens the dataset while it answers the create call: it names the first bad row there and then. So this is
also where a missing object surfaces, as a 400 and not as a job that fails later.
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import httpx

import local_cloud
from local_cloud.vertex.errors import ApiError, invalid_argument
from local_cloud.vertex.training import rows

if TYPE_CHECKING:
    from collections.abc import Iterator

    from local_cloud.vertex.training.rows import Method

_OBJECT = re.compile(r"gs://([^/]+)/(.+\.jsonl)")
_DATASET = re.compile(r"projects/[^/]+/locations/[^/]+/datasets/[^/]+")
_BUCKET_BYTES, _NAME_BYTES = 222, 1024
"""The limits of Cloud Storage."""
_UNREADABLE = (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN, httpx.codes.NOT_FOUND)
_TEMPORARY = (httpx.codes.REQUEST_TIMEOUT, httpx.codes.TOO_MANY_REQUESTS)
_SAMPLES = Path(local_cloud.__file__).parents[1] / "datasets" / "support_replies"


class MissingObjectError(ApiError):
    """There is no such dataset, or none that can be read here."""

    def __init__(self, message: str) -> None:
        super().__init__(400, message, "FAILED_PRECONDITION")


def check_uri(field: str, uri: str) -> None:
    """Raise ApiError 400 unless ``uri`` can be a JSONL object; ``field`` is the proto name it came in.

    The resource name of a multimodal dataset passes, as with Vertex AI, but :func:`fetch` won't find one.
    """
    match = _OBJECT.fullmatch(uri)
    if not (match or _DATASET.fullmatch(uri)):
        raise invalid_argument(f"`{field}` should be a GCS object of type JSONL, got: {uri[:300]!r}.")
    if match and (len(match[1].encode()) > _BUCKET_BYTES or len(match[2].encode()) > _NAME_BYTES):
        raise invalid_argument(
            f"`{field}` should be a GCS object of type JSONL, got one whose name is too long: {uri[:300]!r}."
        )


def fetch(storage_url: str, uri: str, target: Path, method: Method = "supervised") -> None:
    """Copy the object at ``uri`` to the file ``target`` and check its rows by the rules of the tuning method.

    Raises:
        MissingObjectError: 400, there is no such object, or it must not be read.
        ApiError: 400 for an empty object, a bad row, or a name that Cloud Storage refuses; 503 when it does not answer.
    """
    if _DATASET.fullmatch(uri):
        raise MissingObjectError(f"The dataset {uri} was not found: the local Vertex AI keeps no multimodal datasets.")
    match = _OBJECT.fullmatch(uri)
    if match is None:
        raise ValueError(f"not a checked dataset URI: {uri}")
    bucket, name = match.groups()
    _download(f"{storage_url}/storage/v1/b/{quote(bucket, safe='')}/o/{quote(name, safe='')}?alt=media", uri, target)
    try:
        count = rows.check(target, method)
    except ValueError as error:
        raise invalid_argument(str(error)) from error
    if not count:
        raise invalid_argument(f"The dataset {uri} has no examples.")


def write_sample(target: Path, method: Method, held_out: bool) -> None:
    """Write the built-in dataset to ``target``: the sample support desk, training or validation examples.

    Preference tuning gets the same conversations; the worse completion is the answer that another one got.
    """
    source = _SAMPLES / ("validation.jsonl" if held_out else "train.jsonl")
    if method == "supervised":
        shutil.copyfile(source, target)
        return
    with target.open("w", encoding="utf-8") as file:
        for row in _preferences(source):
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


def _download(url: str, uri: str, target: Path) -> None:
    try:
        with httpx.stream("GET", url, timeout=60, trust_env=False) as response:
            if response.status_code in _UNREADABLE:
                raise MissingObjectError(f"The Cloud Storage object {uri} was not found or cannot be read.")
            if response.is_client_error and response.status_code not in _TEMPORARY:
                raise invalid_argument(f"Cloud Storage refused to read {uri}: status {response.status_code}.")
            response.raise_for_status()
            with target.open("wb") as file:
                for block in response.iter_bytes(2**20):
                    file.write(block)
    except httpx.HTTPError as error:
        raise ApiError(503, f"Cloud Storage could not be read for {uri}: {error}") from error


def _preferences(source: Path) -> Iterator[dict[str, object]]:
    examples = [row for _, row in rows.rows(source)]
    answers = [row["contents"][-1] for row in examples]
    for number, row in enumerate(examples):
        following = answers[number + 1 :] + answers[:number]
        worse = next(answer for answer in following if answer != answers[number])
        completions = [{"score": 1, "completion": answers[number]}, {"score": 0, "completion": worse}]
        yield {**row, "contents": row["contents"][:-1], "completions": completions}
