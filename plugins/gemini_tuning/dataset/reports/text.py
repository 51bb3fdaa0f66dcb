"""A report for a terminal or a pipe: the verdict, the files, every fault on one line, figures, cost."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TextIO

from gemini_tuning.dataset.reports.parts import (
    FIGURES,
    Group,
    estimate_sentences,
    groups,
    measures,
    size,
    visible,
)
from gemini_tuning.dataset.reports.report import DatasetReport, plural

_WIDTH = 80
_GREEN, _RED, _YELLOW, _BOLD, _FAINT = "32", "31", "33", "1", "2"


def wants_colour(stream: TextIO, environment: Mapping[str, str] | None = None) -> bool:
    """Whether a stream is a terminal whose owner hasn't refused colours (``NO_COLOR``, no-color.org)."""
    environment = os.environ if environment is None else environment
    return stream.isatty() and not environment.get("NO_COLOR") and environment.get("TERM") != "dumb"


def report_text(report: DatasetReport, *, colour: bool = False) -> str:
    """Return the report as lines without a final newline.

    Faults are never wrapped: ``file:line:column: message at path. hint [code]`` stays one line that other programs
    and editors find their way by.
    """
    paint = _Paint(colour)
    found = groups(report)
    errors = [group for group in found if group.is_error]
    warnings = [group for group in found if not group.is_error]
    blocks = [
        [paint(visible(report.headline()), _BOLD, _GREEN if report.accepted else _RED)],
        _files(report),
        _counts(found),
        _findings(paint(plural(report.counts.errors, "error"), _BOLD, _RED), errors, paint),
        _findings(paint(plural(report.counts.warnings, "warning"), _BOLD, _YELLOW), warnings, paint),
        list(_statistics(report)),
        [line for note in report.notes for line in textwrap.wrap(visible(note), _WIDTH)],
        [line for sentence in estimate_sentences(report) for line in textwrap.wrap(sentence, _WIDTH)],
    ]
    return "\n\n".join("\n".join(block) for block in blocks if block)


class _Paint:
    """Wraps text in ANSI colours, or doesn't."""

    def __init__(self, colour: bool) -> None:
        self._colour = colour

    def __call__(self, text: str, *codes: str) -> str:
        return f"\x1b[{';'.join(codes)}m{text}\x1b[0m" if self._colour else text


def _files(report: DatasetReport) -> list[str]:
    rows = [[f"{file.examples:,}", size(file.bytes), visible(file.path)] for file in report.files]
    return list(_table([["examples", "size", "file"], *rows], left=(2,)))


def _counts(found: Sequence[Group]) -> list[str]:
    rows = [[f"{group.count:,}", group.code, "" if group.is_error else "warning"] for group in found]
    return list(_table([["found", "code", ""], *rows], left=(1, 2))) if rows else []


def _findings(title: str, found: Sequence[Group], paint: _Paint) -> list[str]:
    lines = [title] if found else []
    for group in found:
        lines += [visible(str(finding)) for finding in group.listed]
        if group.unlisted:
            lines.append(paint(f"… and {group.unlisted:,} more, counted but not listed [{group.code}]", _FAINT))
    return lines


def _statistics(report: DatasetReport) -> Iterator[str]:
    if rows := [[measure.name, *measure.figures()] for measure in measures(report)]:
        yield from _table([["per training example", *FIGURES], *rows], left=(0,))
    if report.statistics and report.statistics.roles:
        roles = ", ".join(f"{visible(role)} {count:,}" for role, count in report.statistics.roles.items())
        yield f"turns by role: {roles}"


def _table(rows: Sequence[Sequence[str]], left: Collection[int]) -> Iterator[str]:
    """Yield rows in columns: numbers to the right, those in ``left`` to the left."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (
            cell.ljust(width) if index in left else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        yield "  ".join(cells).rstrip()
