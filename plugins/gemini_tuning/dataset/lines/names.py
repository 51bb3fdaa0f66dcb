"""How fields and the places of a line are named in what people read."""

from __future__ import annotations

import re

Path = tuple[str | int, ...]
LONGEST_KEY = 80  # characters; what is longer is no name


def camel(key: str) -> str:
    """Return the spelling of a field without underscores."""
    head, *rest = key.split("_")
    return head + "".join(map(str.title, rest))


def json_path(path: Path) -> str | None:
    """Return a path such as ``contents[1].parts[0].text``; keys of any other kind stand in brackets."""
    written = ""
    for step in path:
        if isinstance(step, int):
            written += f"[{step}]"
        else:
            shown = step[:LONGEST_KEY]
            written += f".{shown}" if re.fullmatch(r"\w+", shown) else f"[{shown!r}]"
    return written.removeprefix(".") or None
