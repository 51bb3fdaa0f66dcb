"""Put a checked dataset where the tuning service can read it, without ever sending the same bytes twice."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from gemini_tuning.dataset.reading.source import find_object, in_cloud_storage, local_file, storage_retry
from gemini_tuning.dataset.reports.report import DatasetFile
from gemini_tuning.errors import ConfigError, UnusableInputError
from gemini_tuning.google_errors import google_errors
from gemini_tuning.values import Value

if TYPE_CHECKING:
    from google.cloud.storage import Blob, Client

RESUMABLE_CHUNK = 32 * 1024 * 1024  # bytes; a multiple of 256 KiB, as resumable uploads require


class UploadedDataset(Value):
    """A dataset object in Cloud Storage: exactly these bytes, at this generation.

    ``reused`` says that nothing was sent: the object was there, or the dataset already lay in Cloud Storage.
    """

    uri: str
    generation: int
    crc32c: str
    sha256: str
    bytes: int
    reused: bool


def object_name(prefix: str, pipeline: str, file: DatasetFile) -> str:
    """Return ``{prefix}/{pipeline}/{sha256}/{file}``: the same name always holds the same bytes.

    The file's name ends in ``.jsonl`` there, whatever it is here: the service takes the type from it.
    """
    name = re.sub(r"[^A-Za-z0-9._-]", "_", PurePosixPath(file.path).name)
    name = name if name.endswith(".jsonl") else f"{name}.jsonl"
    return "/".join(filter(None, (prefix.strip("/"), pipeline, file.sha256, name)))


def upload_dataset(
    client: Client, file: DatasetFile, *, bucket: str, prefix: str, pipeline: str, root: Path | None
) -> UploadedDataset:
    """Upload a checked file, or find it already there; a ``gs://`` file stays in place.

    :param file: the file as it was checked; other bytes are refused.
    :param root: the folder local files must lie in; None = anywhere.
    :raises UnusableInputError: when the file changed since it was checked, or an object of that name differs.
    :raises ConfigError: wrong bucket.
    :raises ServiceRefusedError: missing role.
    :raises TransientError: Cloud Storage can't be reached.
    """
    if in_cloud_storage(file.path):
        return _in_place(client, file)
    name = object_name(prefix, pipeline, file)
    uri = f"gs://{bucket}/{name}"
    path = local_file(file.path, root)
    if path.stat().st_size != file.bytes:
        raise _changed(file)
    created = 0
    with google_errors(f"Uploading {file.path} to {uri}"):
        blob = find_object(client, uri)
        if blob is None:
            created = _create(client.bucket(bucket).blob(name), path, file, pipeline)
            blob = find_object(client, uri)
    if blob is not None and _holds(blob, file):
        return _uploaded(blob, uri, file, reused=not created)
    if not created:
        raise UnusableInputError(
            f"{uri} holds other bytes than its name says; somebody replaced or removed it. "
            "Look at the object, or use another prefix."
        )
    with google_errors(f"Removing {uri}"):
        client.bucket(bucket).blob(name).delete(if_generation_match=created)
    raise _changed(file)


def require_unchanged(client: Client, dataset: UploadedDataset) -> None:
    """Make sure, just before it is paid for, that an object still is the one that was checked.

    :raises UnusableInputError: when it was replaced or removed.
    """
    with google_errors(f"Reading {dataset.uri}"):
        blob = find_object(client, dataset.uri)
    if blob is None or (blob.generation, blob.crc32c) != (dataset.generation, dataset.crc32c):
        raise UnusableInputError(
            f"{dataset.uri}: changed since it was checked; nothing was submitted. "
            "Run the pipeline again from its check."
        )


def _create(blob: Blob, path: Path, file: DatasetFile, pipeline: str) -> int:
    """Send the file; return the generation that made, or 0 when another run sent it in the meantime."""
    from google.api_core.exceptions import NotFound, PreconditionFailed

    blob.metadata = {"sha256": file.sha256, "pipeline": pipeline}
    if file.bytes > RESUMABLE_CHUNK:
        blob.chunk_size = RESUMABLE_CHUNK
    try:
        blob.upload_from_filename(
            path, content_type="application/jsonl", if_generation_match=0, checksum="crc32c", retry=storage_retry()
        )
    except PreconditionFailed:
        return 0
    except NotFound:
        raise ConfigError(
            f"bucket {blob.bucket.name!r} does not exist, or the connection's account can't see it; "
            "create it, or correct the pipeline's 'bucket'."
        ) from None
    return int(blob.generation)


def _holds(blob: Blob, file: DatasetFile) -> bool:
    return bool(blob.crc32c == file.crc32c and blob.size == file.bytes)


def _in_place(client: Client, file: DatasetFile) -> UploadedDataset:
    with google_errors(f"Reading {file.path}"):
        blob = find_object(client, file.path)
    if blob is None or blob.generation != file.generation or not _holds(blob, file):
        raise _changed(file)
    return _uploaded(blob, file.path, file, reused=True)


def _uploaded(blob: Any, uri: str, file: DatasetFile, *, reused: bool) -> UploadedDataset:
    return UploadedDataset(
        uri=uri,
        generation=blob.generation,
        crc32c=file.crc32c,
        sha256=file.sha256,
        bytes=file.bytes,
        reused=reused,
    )


def _changed(file: DatasetFile) -> UnusableInputError:
    return UnusableInputError(
        f"{file.path}: changed since it was checked; nothing was uploaded. Run the pipeline again from its check."
    )


class UploadedDatasets(Value):
    """Both files of a dataset; validation is None where the pipeline has none."""

    train: UploadedDataset
    validation: UploadedDataset | None = None
