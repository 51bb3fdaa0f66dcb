"""Proto JSON, read leniently and written strictly.

Google's clients disagree about JSON: field names arrive in camelCase and snake_case, even mixed in one body; enums as
name or number; int64 as string or number; a repeated field with one value as that bare value. All of it means the
same to the real service. Inside this server there is one form: camelCase keys, enum names, Python integers.

Answers follow the proto JSON mapping: camelCase, int64 as strings, unset fields left out, enums as names, or as
numbers for a client that asks for ``$alt=json;enum-encoding=int``.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any, Protocol

from local_cloud.vertex.errors import ApiError, invalid_argument


class Kind(Protocol):
    """How one field value is read from a request and written to an answer."""

    def read(self, value: Any, path: str) -> Any:
        """Return the canonical value, or raise ApiError 400 naming ``path``."""

    def write(self, value: Any, *, enum_numbers: bool) -> Any:
        """Return the JSON value of a canonical ``value``."""


def camel(name: str) -> str:
    """Return the JSON name of a proto field: ``tuned_model_name`` becomes ``tunedModelName``."""
    return re.sub(r"_([a-z0-9])", lambda match: match[1].upper(), name)


def snake(name: str) -> str:
    """Return the proto name of a JSON field, as error messages spell it."""
    return re.sub(r"(?<!^)([A-Z])", r"_\1", name).lower()


def _bad(path: str, type_name: str, value: Any) -> ApiError:
    shown = f'"{value}"' if isinstance(value, str) else str(value)
    message = f"Invalid value at '{path}' ({type_name}), {shown[:200]}"
    return invalid_argument(message, _violation(path, message))


def _violation(path: str, message: str) -> list[dict[str, Any]]:
    violation = {"field": path, "description": message}
    return [{"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": [violation]}]


@dataclass(frozen=True)
class Plain:
    """A JSON string, boolean, or anything at all (``Struct`` and messages that are only passed through)."""

    type_name: str
    types: tuple[type, ...] = (object,)

    def read(self, value: Any, path: str) -> Any:
        """See Kind."""
        if not isinstance(value, self.types):
            raise _bad(path, self.type_name, value)
        return value

    def write(self, value: Any, *, enum_numbers: bool) -> Any:
        """See Kind."""
        return value


STRING = Plain("TYPE_STRING", (str,))
BOOL = Plain("TYPE_BOOL", (bool,))
ANYTHING = Plain("TYPE_MESSAGE")
STRUCT = Plain("TYPE_MESSAGE", (dict,))


@dataclass(frozen=True)
class Integer:
    """An int32 or int64; only the latter is written as a string."""

    bits: int

    def read(self, value: Any, path: str) -> int:
        """See Kind."""
        try:
            number = value if isinstance(value, int) else float(value) if isinstance(value, float) else int(value)
            whole = int(number)
        except (TypeError, ValueError, OverflowError):
            raise _bad(path, f"TYPE_INT{self.bits}", value) from None
        if isinstance(value, bool) or whole != number or not -(2 ** (self.bits - 1)) <= whole < 2 ** (self.bits - 1):
            raise _bad(path, f"TYPE_INT{self.bits}", value)
        return whole

    def write(self, value: Any, *, enum_numbers: bool) -> str | int:
        """See Kind."""
        return str(value) if self.bits == 64 else int(value)


INT32 = Integer(32)
INT64 = Integer(64)


@dataclass(frozen=True)
class Floating:
    """A float or double. Not-a-number and infinities are refused: no field we read gives them a meaning."""

    def read(self, value: Any, path: str) -> float:
        """See Kind."""
        try:
            number = float(value)
        except (TypeError, ValueError, OverflowError):
            raise _bad(path, "TYPE_DOUBLE", value) from None
        if isinstance(value, bool) or not math.isfinite(number):
            raise _bad(path, "TYPE_DOUBLE", value)
        return number

    def write(self, value: Any, *, enum_numbers: bool) -> Any:
        """See Kind."""
        return value


DOUBLE = Floating()


@dataclass(frozen=True)
class Enum:
    """An enum: its names in the order of their wire numbers, from 0."""

    type_name: str
    names: tuple[str, ...]

    def read(self, value: Any, path: str) -> str:
        """See Kind."""
        if isinstance(value, str) and value in self.names:
            return value
        number = int(value) if isinstance(value, str) and value.isdecimal() and len(value) < 4 else value
        if isinstance(number, int) and not isinstance(number, bool) and 0 <= number < len(self.names):
            return self.names[number]
        raise _bad(path, f"type.googleapis.com/google.cloud.aiplatform.master.{self.type_name}", value)

    def write(self, value: Any, *, enum_numbers: bool) -> str | int:
        """See Kind."""
        return self.names.index(value) if enum_numbers else str(value)


@dataclass(frozen=True)
class Many:
    """A repeated field. A bare object where a list is due counts as a list of one, as in Google's own samples."""

    kind: Kind

    def read(self, value: Any, path: str) -> list[Any]:
        """See Kind."""
        items = value if isinstance(value, list) else [value]
        return [self.kind.read(item, f"{path}[{index}]") for index, item in enumerate(items)]

    def write(self, value: Any, *, enum_numbers: bool) -> list[Any]:
        """See Kind."""
        return [self.kind.write(item, enum_numbers=enum_numbers) for item in value]


@dataclass(frozen=True)
class Texts:
    """A map of strings to strings, such as labels."""

    def read(self, value: Any, path: str) -> dict[str, str]:
        """See Kind."""
        if not isinstance(value, dict):
            raise _bad(path, "TYPE_MESSAGE", value)
        return {key: STRING.read(item, f"{path}[{key}]") for key, item in value.items()}

    def write(self, value: Any, *, enum_numbers: bool) -> Any:
        """See Kind."""
        return value


TEXTS = Texts()


@dataclass(frozen=True)
class Message:
    """A message: its fields by JSON name."""

    fields: dict[str, Kind]

    def read(self, value: Any, path: str = "") -> dict[str, Any]:
        """See Kind. ``null`` means unset, as everywhere in proto JSON."""
        if not isinstance(value, dict):
            raise _bad(path, "TYPE_MESSAGE", value)
        result = {}
        for name, item in value.items():
            kind = self.fields.get(camel(name))
            if kind is None:
                at = f" at '{path}'" if path else ""
                message = f'Invalid JSON payload received. Unknown name "{name}"{at}: Cannot find field.'
                raise invalid_argument(message, _violation(path, message))
            if item is not None:
                field = f"{path}.{snake(name)}" if path else snake(name)
                result[camel(name)] = kind.read(item, field)
        return result

    def write(self, value: Any, *, enum_numbers: bool = False) -> dict[str, Any]:
        """See Kind. Fields that this version of the message does not have are left out, and so is None."""
        return {
            name: kind.write(value[name], enum_numbers=enum_numbers)
            for name, kind in self.fields.items()
            if value.get(name) is not None
        }
