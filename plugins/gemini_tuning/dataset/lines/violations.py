"""Evaluate the line schema twice: with ``jsonschema`` for every message a person reads, and compiled for counting.

The compiled form finds the same violations (a property test holds the two together) about twenty times faster, so that
a file with a million bad lines is counted to the last one. It knows the keywords the schema uses, and refuses others.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

from gemini_tuning.dataset.lines.names import Path
from gemini_tuning.settings import include_root

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator

SCHEMA_FILE = "schemas/dataset-line.schema.json"

Trail = tuple[Any, str | int] | None  # the way to a value, its last step first: cheaper to extend
Check = Callable[[Any, Trail, list["Violation"]], None]


class Violation(NamedTuple):
    """One keyword of the schema that does not hold at one path; ``rule`` is the keyword's value.

    ``known`` are the fields an object may have, for unknown ones; ``missing`` is the field that isn't there.
    """

    path: Path
    keyword: str
    rule: Any
    instance: Any
    known: tuple[str, ...] = ()
    missing: str = ""

    @property
    def order(self) -> tuple[list[str], str, str]:
        """A sort key that doesn't depend on who found the violation."""
        return [str(step) for step in self.path], self.keyword, self.missing


def explained(document: Any) -> list[Violation]:
    """Return the violations that ``jsonschema`` finds, in order of their paths."""
    found = [
        Violation(
            tuple(error.absolute_path),
            str(error.validator),
            error.validator_value,
            error.instance,
            tuple(error.schema["properties"]) if error.validator == "additionalProperties" else (),
            error.message.removesuffix(" is a required property").strip("'") if error.validator == "required" else "",
        )
        for error in _validator().iter_errors(document)
    ]
    return _settled(found)


def counted(document: Any) -> list[Violation]:
    """Return the same violations from the compiled schema."""
    found: list[Violation] = []
    _compiled()(document, None, found)
    return _settled(found) if found else found


def _settled(found: Iterable[Violation]) -> list[Violation]:
    # of what should have been an object, the alternatives inside it say nothing
    kept = [one for one in found if one.keyword not in {"oneOf", "not"} or isinstance(one.instance, dict)]
    return kept if len(kept) < 2 else sorted(kept, key=lambda one: one.order)


@functools.cache
def _schema() -> dict[str, Any]:
    document: dict[str, Any] = json.loads((include_root() / SCHEMA_FILE).read_text(encoding="utf-8"))
    return document


@functools.cache
def _validator() -> Draft202012Validator:
    from jsonschema import Draft202012Validator

    Draft202012Validator.check_schema(_schema())
    return Draft202012Validator(_schema())


@functools.cache
def _compiled() -> Check:
    return _compile(_schema())


def _compile(schema: dict[str, Any]) -> Check:
    """Return a function that finds the violations of a schema.

    :raises NotImplementedError: for a keyword this module doesn't know: it would be passed over.
    """
    if "$ref" in schema:
        return _compile(_schema()["$defs"][schema["$ref"].removeprefix("#/$defs/")])
    kind = schema.get("type", "enum")
    make, known = _KINDS[kind]
    if unknown := schema.keys() - known - {"$schema", "$defs", "title", "description", "type"}:
        raise NotImplementedError(f"keywords {sorted(unknown)} of type {kind}")
    return make(schema)


def _object(schema: dict[str, Any]) -> Check:  # noqa: C901  # all keywords at once, for calls are what costs
    properties = schema.get("properties", {})
    checks = {field: _compile(rule) for field, rule in properties.items()}
    known, closed = tuple(properties), "additionalProperties" in schema
    required = schema.get("required", [])
    one_of = schema.get("oneOf", [])
    alternatives = frozenset(branch["required"][0] for branch in one_of)
    twins = [
        (*branch["not"]["required"], branch["not"]) for branch in (*schema.get("allOf", ()), schema) if "not" in branch
    ]

    def check(instance: Any, path: Trail, found: list[Violation]) -> None:
        if type(instance) is not dict:
            found.append(Violation(_flat(path), "type", "object", instance))
            return
        unknown = False
        for field, value in instance.items():
            one = checks.get(field)
            if one is None:
                unknown = True
            else:
                one(value, (path, field), found)
        if unknown and closed:
            found.append(Violation(_flat(path), "additionalProperties", False, instance, known))
        for field in required:
            if field not in instance:
                found.append(Violation(_flat(path), "required", required, instance, missing=field))
        if alternatives and len(alternatives & instance.keys()) != 1:
            found.append(Violation(_flat(path), "oneOf", one_of, instance))
        for camel, snake, rule in twins:
            if camel in instance and snake in instance:
                found.append(Violation(_flat(path), "not", rule, instance))

    return check


def _array(schema: dict[str, Any]) -> Check:
    least, one = schema.get("minItems", 0), _compile(schema["items"])

    def check(instance: Any, path: Trail, found: list[Violation]) -> None:
        if type(instance) is not list:
            found.append(Violation(_flat(path), "type", "array", instance))
            return
        if len(instance) < least:
            found.append(Violation(_flat(path), "minItems", least, instance))
        for index, value in enumerate(instance):
            one(value, (path, index), found)

    return check


def _string(schema: dict[str, Any]) -> Check:
    pattern = schema.get("pattern", "")
    search = re.compile(pattern).search

    def check(instance: Any, path: Trail, found: list[Violation]) -> None:
        if type(instance) is not str:
            found.append(Violation(_flat(path), "type", "string", instance))
        elif not search(instance):
            found.append(Violation(_flat(path), "pattern", pattern, instance))

    return check


def _enum(schema: dict[str, Any]) -> Check:
    allowed = schema["enum"]

    def check(instance: Any, path: Trail, found: list[Violation]) -> None:
        if instance not in allowed:
            found.append(Violation(_flat(path), "enum", allowed, instance))

    return check


def _flat(trail: Trail) -> Path:
    steps = []
    while trail is not None:
        trail, step = trail
        steps.append(step)
    return tuple(reversed(steps))


_KINDS: dict[str, tuple[Callable[[dict[str, Any]], Check], set[str]]] = {
    "object": (_object, {"properties", "additionalProperties", "required", "oneOf", "allOf", "not"}),
    "array": (_array, {"items", "minItems"}),
    "string": (_string, {"pattern"}),
    "enum": (_enum, {"enum"}),
}
