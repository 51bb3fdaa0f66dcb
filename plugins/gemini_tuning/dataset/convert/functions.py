"""Tool definitions with JSON Schema into function declarations with Gemini's schema, which is a part of OpenAPI's."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, ClassVar

from gemini_tuning.dataset.convert.losses import EMPTY, Code, Notes, at
from gemini_tuning.dataset.lines.parsing import parse

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.:-]{0,63}")
_FUNCTION_FIELDS = frozenset({"name", "description", "parameters"})
_LOCAL_REFERENCE = re.compile(r"#/(?:\$defs|definitions)/([^/]+)")
_TYPES = {name: name.upper() for name in ("string", "number", "integer", "boolean", "array", "object", "null")}
_COPIED: dict[str, Any] = {
    "title": str,
    "description": str,
    "format": str,
    "pattern": str,
    "nullable": bool,
    "required": list,
    "propertyOrdering": list,
    "default": object,
    "example": object,
    **dict.fromkeys(("minimum", "maximum"), int | float),
    **dict.fromkeys(("minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties"), int),
}


def declarations(document: dict[str, Any], notes: Notes) -> list[dict[str, Any]]:
    """Return the declarations of a line's ``tools`` and, from before there were tools, ``functions``."""
    found = []
    for key in ("tools", "functions"):
        definitions = _plain(document.get(key))
        if definitions in EMPTY:
            continue
        if not isinstance(definitions, list):
            notes.refuse(Code.WRONG_TYPE, key, "must be a list, or the JSON of one in a string")
            continue
        for index, definition in enumerate(definitions):
            path = f"{key}[{index}]"
            function = _function_of_tool(definition, path, notes) if key == "tools" else (definition, path)
            if function is not None:
                found.append(_declaration(*function, notes))
    names = [declaration["name"] for declaration in found if "name" in declaration]
    if len(set(names)) != len(names):
        notes.refuse(Code.FUNCTION_NAME, "tools", "two functions have the same name", "Give each its own name.")
    return found


def _plain(definitions: Any) -> Any:
    """Return definitions as they are, also where a table has kept them as JSON inside a string."""
    document, fault = parse(definitions.encode()) if isinstance(definitions, str) else (definitions, None)
    return definitions if fault else document


def is_name(name: object) -> bool:
    """Whether a function may be called this."""
    return isinstance(name, str) and _NAME.fullmatch(name) is not None


def _function_of_tool(tool: Any, path: str, notes: Notes) -> tuple[Any, str] | None:
    """Return the function and its path; newer files write its fields beside ``type`` instead of in ``function``."""
    if not isinstance(tool, dict) or (tool.get("type") or "function") != "function":
        notes.refuse(Code.UNSUPPORTED_TOOL, path, "not a function")
        return None
    if "function" not in tool:
        return {key: value for key, value in tool.items() if key != "type"}, path
    notes.left_out(tool, frozenset({"type", "function"}), path)
    return tool["function"], f"{path}.function"


def _declaration(function: Any, path: str, notes: Notes) -> dict[str, Any]:
    if not isinstance(function, dict):
        notes.refuse(Code.WRONG_TYPE, path, "must be an object")
        return {}
    name, description, parameters = (function.get(key) for key in ("name", "description", "parameters"))
    declaration: dict[str, Any] = {}
    if is_name(name):
        declaration["name"] = name
    else:
        notes.refuse(Code.FUNCTION_NAME, f"{path}.name", "not a function name Gemini takes")
    if isinstance(description, str):
        declaration["description"] = description
    elif description is not None:
        notes.refuse(Code.WRONG_TYPE, f"{path}.description", "must be a string")
    if isinstance(parameters, dict):
        if takes := _parameters(parameters, f"{path}.parameters", notes):
            declaration["parameters"] = takes
    elif parameters is not None:
        notes.refuse(Code.WRONG_TYPE, f"{path}.parameters", "must be an object")
    known = _FUNCTION_FIELDS if function.get("strict") else _FUNCTION_FIELDS | {"strict"}
    notes.left_out(function, known, path)
    return declaration


def _parameters(schema: dict[str, Any], path: str, notes: Notes) -> dict[str, Any] | None:
    """Return the schema of the arguments, or None for a function that takes none: Gemini wants that left out."""
    mapped = _Mapper(notes).schema(schema, path)
    if mapped.get("properties") == {}:
        del mapped["properties"]
    said = {key for key, value in mapped.items() if value not in EMPTY and value is not False} - {"type"}
    if said <= {"title", "description", "required"}:
        for key in sorted(said):
            notes.lost(Code.SCHEMA_KEYWORD, at(path, key), "the function takes no arguments, so has no schema of them")
        return None
    if "properties" in mapped:
        mapped.setdefault("type", "OBJECT")
    return mapped


class _Mapper:
    """Maps one schema, node by node; every keyword without a counterpart is noted and left out."""

    def __init__(self, notes: Notes) -> None:
        self._notes = notes

    def schema(self, node: Any, path: str, *, root: bool = True) -> dict[str, Any]:
        if not isinstance(node, dict):
            if node is not True:
                self._lost(path, "not a schema with keywords")
            return {}
        mapped: dict[str, Any] = {}
        for keyword, value in node.items():
            here = at(path, keyword)
            if keyword in _COPIED and isinstance(value, _COPIED[keyword]):
                mapped[keyword] = value
            elif keyword in {"$defs", "definitions"} and root and isinstance(value, dict):
                mapped["defs"] = self._each(value, here)
            elif keyword in self._mappings:
                self._add(mapped, self._mappings[keyword](self, value, here), here)
            elif not (keyword in _COPIED and value is None):
                self._lost(here, "this JSON Schema keyword has no counterpart in Gemini's schema")
        if "enum" in mapped and "type" not in mapped:  # JSON Schema may leave it to the values
            whole = all(type(item) is int for item in node.get("enum", [node.get("const")]) if item is not None)
            mapped["type"] = "INTEGER" if whole else "STRING"
        return mapped

    def _add(self, mapped: dict[str, Any], new: dict[str, Any], path: str) -> None:
        if twice := (mapped.keys() & new.keys()) - {"nullable"}:
            self._lost(path, f"another keyword is written as {', '.join(sorted(twice))} already")
        mapped |= {key: value for key, value in new.items() if key not in twice}

    def _type(self, value: Any, path: str) -> dict[str, Any]:
        names = value if isinstance(value, list) else [value]
        known = [_TYPES[name] for name in names if isinstance(name, str) and name in _TYPES]
        if len(known) != len(names) or not known:
            self._lost(path, "not a type of JSON Schema")
            return {}
        if len(known) == 1:
            return {"type": known[0]}
        some = [name for name in known if name != "NULL"]
        nullable = {"nullable": True} if len(some) < len(known) else {}
        if len(some) == 1:
            return {"type": some[0], **nullable}
        self._lost(path, "several types, which are written as anyOf")
        return {"anyOf": [{"type": name} for name in some], **nullable}

    def _enum(self, value: Any, path: str) -> dict[str, Any]:
        values = value if isinstance(value, list) else []
        some = [item for item in values if item is not None]
        nullable = {"nullable": True} if len(some) < len(values) else {}
        if some and all(isinstance(item, str) for item in some):
            return {"enum": some, **nullable}
        if some and all(type(item) is int for item in some):  # documented so: type INTEGER, values as strings
            return {"enum": [str(item) for item in some], **nullable}
        self._lost(path, "only strings and integers can be enumerated")
        return {}

    def _const(self, value: Any, path: str) -> dict[str, Any]:
        return self._enum([value], path)

    def _items(self, value: Any, path: str) -> dict[str, Any]:
        return {"items": self.schema(value, path, root=False)}

    def _properties(self, value: Any, path: str) -> dict[str, Any]:
        if isinstance(value, dict):
            return {"properties": self._each(value, path)}
        self._lost(path, "not an object of schemas")
        return {}

    def _any_of(self, value: Any, path: str) -> dict[str, Any]:
        if isinstance(value, list) and value:
            return {"anyOf": [self.schema(item, f"{path}[{index}]", root=False) for index, item in enumerate(value)]}
        self._lost(path, "not a list of schemas")
        return {}

    def _one_of(self, value: Any, path: str) -> dict[str, Any]:
        self._lost(path, "written as anyOf: that no more than one may hold is lost")
        return self._any_of(value, path)

    def _additional(self, value: Any, path: str) -> dict[str, Any]:
        return {"additionalProperties": value if isinstance(value, bool) else self.schema(value, path, root=False)}

    def _reference(self, value: Any, path: str) -> dict[str, Any]:
        if isinstance(value, str) and (match := _LOCAL_REFERENCE.fullmatch(value)):
            return {"ref": f"#/defs/{match[1]}"}
        self._lost(path, "a reference to somewhere else than the schema's own definitions")
        return {}

    def _each(self, schemas: dict[str, Any], path: str) -> dict[str, Any]:
        return {name: self.schema(value, at(path, name), root=False) for name, value in schemas.items()}

    def _lost(self, path: str, message: str) -> None:
        self._notes.lost(Code.SCHEMA_KEYWORD, path, message)

    _mappings: ClassVar[dict[str, Callable[[_Mapper, Any, str], dict[str, Any]]]] = {
        "type": _type,
        "enum": _enum,
        "const": _const,
        "items": _items,
        "properties": _properties,
        "anyOf": _any_of,
        "oneOf": _one_of,
        "additionalProperties": _additional,
        "$ref": _reference,
    }
