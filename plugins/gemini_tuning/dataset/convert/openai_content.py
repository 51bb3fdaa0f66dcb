"""The content of one OpenAI message, a string or a list of typed parts, into Gemini's parts."""

from __future__ import annotations

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
    notes.left_out(item, frozenset({"type", kind}), path)
    if kind == "image_url":
        return _image_parts(item.get(kind), f"{path}.{kind}", notes)
    if kind == "refusal":
        return refusal_parts(item.get(kind), f"{path}.{kind}", notes)
    return text_parts(item.get(kind), f"{path}.{kind}", notes)


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
    if not image.startswith(("gs://", "http://", "https://")) or any(map(str.isspace, image)):
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
