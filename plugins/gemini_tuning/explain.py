"""Turn a Pydantic validation error into sentences a person can act on."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import cast

from pydantic import BaseModel, ValidationError


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ``; did you mean 'x'?`` for the closest known word, or an empty string."""
    matches = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"; did you mean {matches[0]!r}?" if matches else ""


def explain(error: ValidationError, model: type[BaseModel]) -> str:
    """Return one clause per fault, joined by ``; ``: the field's path, the reason, a did-you-mean."""
    return "; ".join(_clause(dict(fault), model) for fault in error.errors(include_url=False))


def _clause(fault: dict[str, object], model: type[BaseModel]) -> str:
    location = cast("tuple[object, ...]", fault["loc"])
    field = _path(location)
    if fault["type"] == "extra_forbidden":
        known = _fields_at(model, location[:-1])
        return f"unknown field {field!r}{did_you_mean(str(location[-1]), known)}"
    if fault["type"] == "missing":
        return f"field {field!r} is missing"
    reason = str(fault["msg"]).removeprefix("Value error, ")
    return f"field {field!r}: {reason[:1].lower()}{reason[1:]}" if field else reason


def _path(location: tuple[object, ...]) -> str:
    path = ""
    for step in location:
        path += f"[{step}]" if isinstance(step, int) else f".{step}" if path else str(step)
    return path


def _fields_at(model: type[BaseModel], location: tuple[object, ...]) -> list[str]:
    """Return the names a mapping at this place may have, following nested models by their annotations."""
    for step in location:
        if isinstance(step, int):
            continue
        field = next((f for name, f in model.model_fields.items() if step in {name, f.alias}), None)
        nested = _model_in(field.annotation) if field else None
        if nested is None:
            return []
        model = nested
    return [field.alias or name for name, field in model.model_fields.items()]


def _model_in(annotation: object) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in getattr(annotation, "__args__", ()):
        if (found := _model_in(argument)) is not None:
            return found
    return None
