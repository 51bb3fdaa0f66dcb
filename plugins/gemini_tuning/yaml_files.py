"""Read YAML that people write: what is wrong with a file is one sentence that names it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from gemini_tuning.errors import ConfigError


class _Loader(yaml.SafeLoader):
    """Refuses a key that stands twice, of which YAML itself would silently drop the first."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            key = key_node.value
            if key_node.tag != "tag:yaml.org,2002:merge" and isinstance(key, str):
                if key in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"key {key!r} stands twice", key_node.start_mark
                    )
                seen.add(key)
        return super().construct_mapping(node, deep=deep)


def load_yaml(path: Path) -> Any:
    """Return the document of a YAML file.

    :raises ConfigError: when it can't be read or isn't YAML; names file, place and reason.
    """
    try:
        return yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)  # noqa: S506 - a SafeLoader
    except OSError as error:
        raise ConfigError(f"{path}: can't be read: {error.strerror}.") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8: byte {error.start + 1}. Save the file as UTF-8.") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not valid YAML: {_place(error)}.") from None
    except (ValueError, RecursionError) as error:  # such as a date that doesn't exist
        raise ConfigError(f"{path}: not valid YAML: {error}.") from None


def _place(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or str(error)
    return f"line {mark.line + 1}, column {mark.column + 1}: {problem}" if mark else " ".join(problem.split())
