"""Proto JSON, read leniently and written strictly.

Google's clients disagree about JSON: field names arrive in camelCase and snake_case, even mixed in one body; enums as
name (in any case) or number; int64 as string or number; bytes in both alphabets of base64; a repeated field with one
value as that bare value. All of it means the same to the real service. Inside this server there is one form:
camelCase keys, enum names, Python integers.

Answers follow the proto JSON mapping: camelCase, int64 as strings, unset fields left out, enums as names, or as
numbers for a client that asks for ``$alt=json;enum-encoding=int``.
"""

from __future__ import annotations

import base64
import binascii
import re
import sys
from dataclasses import dataclass, field
from decimal import Decimal
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
    return _refused(path, f"Invalid value at '{path}' ({type_name}), {shown[:200]}")


def _refused(path: str, message: str) -> ApiError:
    violation = {"field": path, "description": message}
    details = [{"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": [violation]}]
    return invalid_argument(message, details)


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


_FUTURE_NUMBER = 999
_LARGEST = Decimal(sys.float_info.max)
_NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?", re.ASCII)


def _number(value: Any) -> Decimal | None:
    """Return the finite number that a JSON number, or a string that spells one, means; otherwise None."""
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        try:
            return Decimal(value)
        except ArithmeticError:  # an exponent beyond everything
            return None
    number = Decimal(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None
    return number if number is not None and number.is_finite() else None


@dataclass(frozen=True)
class Integer:
    """An int32 or int64; only the latter is written as a string."""

    bits: int

    def read(self, value: Any, path: str) -> int:
        """See Kind."""
        number = _number(value)
        limit = 2 ** (self.bits - 1)
        if number is None or not -limit <= number < limit or int(number) != number:
            raise _bad(path, f"TYPE_INT{self.bits}", value)
        return int(number)

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
        number = _number(value)
        if number is None or abs(number) > _LARGEST:
            raise _bad(path, "TYPE_DOUBLE", value)
        return float(number)

    def write(self, value: Any, *, enum_numbers: bool) -> Any:
        """See Kind."""
        return value


DOUBLE = Floating()


@dataclass(frozen=True)
class Bytes:
    """Bytes as base64: read in either alphabet, with or without its padding; kept and written in the standard one."""

    def read(self, value: Any, path: str) -> str:
        """See Kind."""
        if isinstance(value, str):
            text = value.rstrip("=").translate(str.maketrans("-_", "+/"))
            try:
                return base64.b64encode(base64.b64decode(text + "=" * (-len(text) % 4), validate=True)).decode()
            except (binascii.Error, ValueError):
                pass
        raise _bad(path, "TYPE_BYTES", value)

    def write(self, value: Any, *, enum_numbers: bool) -> Any:
        """See Kind."""
        return value


BYTES = Bytes()


@dataclass(frozen=True)
class Enum:
    """An enum: its names in the order of their wire numbers, from 0."""

    type_name: str
    names: tuple[str, ...]

    def read(self, value: Any, path: str) -> str:
        """See Kind."""
        if isinstance(value, str) and (name := value.upper().replace("-", "_")) in self.names:
            return name
        number = _number(value)
        if number is not None and 0 <= number < len(self.names) and int(number) == number:
            return self.names[int(number)]
        raise _bad(path, f"type.googleapis.com/google.cloud.aiplatform.master.{self.type_name}", value)

    def write(self, value: Any, *, enum_numbers: bool) -> str | int:
        """See Kind."""
        if value not in self.names:  # planted: a value that is yet to be invented
            return _FUTURE_NUMBER if enum_numbers else str(value)
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
class Map:
    """A map from strings, such as labels: its keys are the caller's own and keep their spelling."""

    kind: Kind

    def read(self, value: Any, path: str) -> dict[str, Any]:
        """See Kind."""
        if not isinstance(value, dict):
            raise _bad(path, "TYPE_MESSAGE", value)
        return {key: self.kind.read(item, f"{path}[{key}]") for key, item in value.items()}

    def write(self, value: Any, *, enum_numbers: bool) -> dict[str, Any]:
        """See Kind."""
        return {key: self.kind.write(item, enum_numbers=enum_numbers) for key, item in value.items()}


TEXTS = Map(STRING)


@dataclass(frozen=True)
class Message:
    """A message.

    Attributes:
        fields: its fields by JSON name.
        oneofs: groups of fields of which only one can be set, by their proto names.
    """

    fields: dict[str, Kind]
    oneofs: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def read(self, value: Any, path: str = "") -> dict[str, Any]:
        """See Kind. ``null`` means unset, as everywhere in proto JSON."""
        if not isinstance(value, dict):
            raise _bad(path, "TYPE_MESSAGE", value)
        result: dict[str, Any] = {}
        for name, item in value.items():
            json_name = camel(name)
            kind = self.fields.get(json_name)
            if kind is None:
                at = f" at '{path}'" if path else ""
                raise _refused(path, f'Invalid JSON payload received. Unknown name "{name}"{at}: Cannot find field.')
            if item is None:
                continue
            if json_name in result:
                raise _refused(path, f"Invalid value at '{path}': field '{json_name}' is given twice.")
            result[json_name] = kind.read(item, f"{path}.{snake(name)}" if path else snake(name))
        self._check_oneofs(result, path)
        return result

    def _check_oneofs(self, value: dict[str, Any], path: str) -> None:
        for oneof, members in self.oneofs.items():
            given = [name for name in value if name in members]
            if len(given) > 1:
                taken = f"oneof field '{oneof}' is already set. Cannot set '{given[1]}'"
                raise _refused(path, f"Invalid value at '{path}' (oneof), {taken}")

    def write(self, value: Any, *, enum_numbers: bool = False) -> dict[str, Any]:
        """See Kind. Fields that this version of the message does not have are left out, and so is None."""
        return {
            name: kind.write(value[name], enum_numbers=enum_numbers)
            for name, kind in self.fields.items()
            if value.get(name) is not None
        }
