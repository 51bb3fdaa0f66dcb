"""Rows of a dataset file: read one at a time, and what each needs to be one of its tuning method.

Memory stays that of a single row, so a row has a size beyond which it isn't read: :data:`ROW_BYTES`, several times
what an example of Gemini's token limit takes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from local_cloud.vertex.wire.strict_json import read_json

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Method = Literal["supervised", "preference"]

ROW_BYTES = 2**24


def rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the 0-based number and the object of each row; lines of white space do not count.

    A system instruction is found as ``systemInstruction``, whichever way the row spells it.

    Raises:
        ValueError: a row is not a JSON object; the message is the one that Vertex AI's row errors begin with.
    """
    number = 0
    with path.open("rb") as file:
        while line := file.readline(ROW_BYTES + 1):
            if not line.strip():
                continue
            if len(line) > ROW_BYTES:
                raise ValueError(f"Row: {number}. Rows of more than {ROW_BYTES // 2**20} MiB cannot be read.")
            try:
                row = read_json(line)
            except ValueError as error:
                raise ValueError(f"Row: {number}. Invalid JSON: {error}.") from error
            if not isinstance(row, dict):
                raise ValueError(f"Row: {number}. Expected a JSON object.")
            if instruction := row.pop("system_instruction", None):
                row["systemInstruction"] = row.get("systemInstruction") or instruction
            yield number, row
            number += 1


def check(path: Path, method: Method) -> int:
    """Return the number of rows.

    Raises:
        ValueError: the first bad row, named as Vertex AI names it.
    """
    count = 0
    for number, row in rows(path):
        fault = _contents_fault(row) or (_completions_fault(row) if method == "preference" else None)
        if fault:
            raise ValueError(f"Row: {number}. {fault}")
        count += 1
    return count


def _contents_fault(row: dict[str, Any]) -> str | None:
    contents = row.get("contents")
    if not (isinstance(contents, list) and contents):
        return "Missing required `contents` field."
    if not (all(map(_is_content, contents)) and _is_content(row.get("systemInstruction") or {"parts": []})):
        return "Every item of `contents` needs a list of `parts` of text or other data."
    return None


def _completions_fault(row: dict[str, Any]) -> str | None:
    """Preference tuning: two answers to what the user said last, of which one is the better."""
    if str(row["contents"][-1].get("role") or "user").lower() != "user":
        return "The last item of `contents` must have the role `user`."
    completions = row.get("completions")
    if not (isinstance(completions, list) and completions):
        return "Missing required `completions` field."
    if not all(isinstance(item, dict) and _is_content(item.get("completion")) for item in completions):
        return "Every item of `completions` needs a `completion` with a list of `parts`."
    scores = [item.get("score") for item in completions]
    if len(scores) != 2 or not (0 in scores and 1 in scores):
        return "`completions` must be exactly one with `score` 1 and one with `score` 0."
    return None


def _is_content(value: Any) -> bool:
    parts = value.get("parts") if isinstance(value, dict) else None
    return (
        isinstance(parts, list)
        and isinstance(value.get("role") or "", str)
        and all(isinstance(part, dict) and isinstance(part.get("text", ""), str) for part in parts)
    )
