"""The content of one OpenAI message, a string or a list of typed parts, into Gemini's parts."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from gemini_tuning.dataset.convert.conversation import Part
from gemini_tuning.dataset.convert.losses import Code, Notes
from gemini_tuning.dataset.lines.conversation import word

# what Gemini's tuning pages name for images; other types are dropped by the service, after the job has begun
_MIME_TYPES = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".webp": "image/webp",
    ".heic": "image/heic",
    ".heif": "image/heif",
}
TEXT_ONLY = frozenset({"text"})
OF_USERS = frozenset({"text", "image_url"})
OF_ANSWERS = frozenset({"text", "refusal"})
_TYPE = frozenset({"type"})
_URI = re.compile(r"gs://[^/\s]+/\S+|https?://[^/\s]\S*")  # as in the line schema


def parts_of(content: Any, path: str, kinds: frozenset[str], notes: Notes) -> list[Part]:
    """Return the parts of a content; None and empty text have none.

    :param kinds: the types of part this message may hold.
    """
    if isinstance(content, str):
        return text_parts(content, path, notes)
    if content is None:
        return []
    if not isinstance(content, list):
        notes.refuse(Code.WRONG_TYPE, path, "must be a string or a list of parts")
        return []
    return [
        part for index, item in enumerate(content) for part in _parts_of_item(item, f"{path}[{index}]", kinds, notes)
    ]


def text_parts(text: Any, path: str, notes: Notes) -> list[Part]:
    """Return a text as one part, or none where it is blank: Gemini takes no empty text."""
    if not isinstance(text, str):
        notes.refuse(Code.WRONG_TYPE, path, "must be a string")
        return []
    if text.strip():
        return [{"text": text}]
    if text:
        notes.lost(Code.BLANK_TEXT, path, "only white space, which Gemini takes for no text at all")
    return []


def _parts_of_item(item: Any, path: str, kinds: frozenset[str], notes: Notes) -> list[Part]:
    kind = item.get("type") if isinstance(item, dict) else None
    if not isinstance(kind, str) or kind not in kinds:
        notes.refuse(Code.UNSUPPORTED_PART, path, f"a part of type {word(kind)} can't stand here in contents")
        return []
    field = value_field(item, kind)
    if field not in item:
        notes.missing(item, kind, _TYPE, path)
        return []
    notes.left_out(item, _TYPE | {field}, path)
    return _READERS[kind](item[field], f"{path}.{field}", notes)


def value_field(item: dict[str, Any], kind: str) -> str:
    """Return the field that holds what a part is: the name of its type, or ``value``, as LLaMA-Factory calls it."""
    return "value" if kind not in item and "value" in item else kind


def refusal_parts(refusal: Any, path: str, notes: Notes) -> list[Part]:
    """Return a refusal as the text it is, noting that it no longer is marked as one."""
    found = text_parts(refusal, path, notes)
    if found:
        notes.lost(Code.REFUSAL_AS_TEXT, path, "a refusal becomes an ordinary answer")
    return found


def _image_parts(image: Any, path: str, notes: Notes) -> list[Part]:
    if isinstance(image, dict):
        known = {"url", "detail"} if image.get("detail") == "auto" else {"url"}
        notes.left_out(image, frozenset(known), path)
        image, path = image.get("url"), f"{path}.url"
    if not isinstance(image, str):
        notes.refuse(Code.WRONG_TYPE, path, "must be a string")
        return []
    if image[:5].lower() == "data:":
        notes.refuse(Code.INLINE_DATA, path, "the image stands in the line itself, and tuning reads files only")
        return []
    if not _URI.fullmatch(image):
        notes.refuse(Code.WRONG_URI, path, "not a gs:// or http(s):// URI")
        return []
    mime_type = _mime_type(image)
    if mime_type is None:
        notes.refuse(Code.MEDIA_TYPE, path, "the URI's extension tells no image type that Gemini reads")
        return []
    return [{"fileData": {"mimeType": mime_type, "fileUri": image}}]


def _mime_type(uri: str) -> str | None:
    try:
        path = urlsplit(uri).path if uri.startswith("http") else uri
    except ValueError:  # a host in brackets that is no address
        return None
    return _MIME_TYPES.get(PurePosixPath(path).suffix.lower())


_READERS: dict[str, Callable[[Any, str, Notes], list[Part]]] = {
    "text": text_parts,
    "image_url": _image_parts,
    "refusal": refusal_parts,
}
