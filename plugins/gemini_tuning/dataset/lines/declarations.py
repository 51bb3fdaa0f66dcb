"""Look for fields of a function declaration that Google doesn't list: a misspelt one leaves the model without it.

The line schema leaves declarations open, and this only warns, for the service may know a field sooner than this table.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from gemini_tuning.dataset.codes import Fault
from gemini_tuning.dataset.lines.names import LONGEST_KEY, Path, camel, json_path

# ``FunctionDeclaration`` and ``Schema`` of the API; a test holds them to the installed google-genai.
FUNCTION_FIELDS = frozenset({"name", "description", "parameters", "parametersJsonSchema"}) | {
    *("response", "responseJsonSchema", "behavior"),
}
SCHEMA_FIELDS = frozenset({"type", "format", "title", "description", "nullable", "default", "example", "enum"}) | {
    *("items", "minItems", "maxItems", "properties", "minProperties", "maxProperties", "propertyOrdering", "required"),
    *("minimum", "maximum", "minLength", "maxLength", "pattern", "anyOf", "additionalProperties", "ref", "defs"),
}
_LISTS = {"functionDeclarations", "function_declarations"}


def faults(tools: Iterable[dict[str, Any]]) -> Iterator[Fault]:
    """Yield a warning for each field that isn't known.

    :param tools: those of a line that violates the schema in nothing but unknown fields.
    """
    for index, tool in enumerate(tools):
        for field in tool.keys() & _LISTS:
            for number, function in enumerate(tool[field]):
                path = ("tools", index, field, number)
                yield from _unknown(function, FUNCTION_FIELDS, path)
                for schema in ("parameters", "response"):
                    yield from _schema(function.get(schema), (*path, schema))


def _schema(node: Any, path: Path) -> Iterator[Fault]:
    if not isinstance(node, dict):
        return
    yield from _unknown(node, SCHEMA_FIELDS, path)
    for field, value in node.items():
        match camel(field), value:
            case "items" | "additionalProperties", dict():
                yield from _schema(value, (*path, field))
            case "anyOf", list():
                for index, one in enumerate(value):
                    yield from _schema(one, (*path, field, index))
            case "properties" | "defs", dict():
                for name, one in value.items():
                    yield from _schema(one, (*path, field, name))


def _unknown(node: dict[str, Any], known: frozenset[str], path: Path) -> Iterator[Fault]:
    for field in node:
        if field not in known and camel(field) not in known:
            from gemini_tuning.explain import did_you_mean

            guess = did_you_mean(field[:LONGEST_KEY], sorted(known)).removeprefix("; ")
            hint = guess[:1].upper() + guess[1:] or "Leave it out, unless Google lists it by now."
            message = f"Google lists no field {field[:LONGEST_KEY]!r} here"
            yield Fault("unknown-declaration-field", message, hint, json_path((*path, field)))
