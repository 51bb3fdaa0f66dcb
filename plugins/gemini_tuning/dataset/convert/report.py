"""What a conversion did: the counts, and what could not be carried over."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, Literal

from gemini_tuning.dataset.codes import LISTED_PER_CODE
from gemini_tuning.dataset.convert.losses import Loss
from gemini_tuning.dataset.lines.formats import Format
from gemini_tuning.dataset.reports.report import plural
from gemini_tuning.values import Value


class LineLoss(Value):
    """One thing that was lost from a written line, or for which a line was refused. Quotes no content but keys."""

    line: int
    path: str | None
    code: str
    action: Literal["lost", "refused"]
    message: str
    hint: str

    def __str__(self) -> str:
        """Return ``line 3: refused: message at path. hint [code]``."""
        where = f" at {self.path}" if self.path else ""
        return f"line {self.line}: {self.action}: {self.message}{where}. {self.hint} [{self.code}]"


class LineCounts(Value):
    """Lines read; of these, how many were written, refused, and blank; of the written ones, how many lost something.

    ``unchanged`` are those written that were in ``contents`` already.
    """

    read: int
    written: int
    unchanged: int
    refused: int
    blank: int
    written_with_losses: int


class ConversionReport(Value):
    """What became of a file.

    ``output`` is None when no line could be written; ``counts`` counts losses by code, listed or not, and ``formats``
    counts lines by the format they were recognised as.
    """

    input: str
    output: str | None
    complete: bool
    lines: LineCounts
    formats: dict[str, int]
    losses: tuple[LineLoss, ...]
    counts: dict[str, int]
    truncated: bool

    def headline(self) -> str:
        """Return one sentence: what was read, what was written."""
        lines = self.lines
        kinds = [f"{Format(name).label}: {count:,}" for name, count in self.formats.items()]
        if lines.unchanged:
            kinds.append(f"contents already: {lines.unchanged:,}")
        source = f"{self.input} ({'; '.join([plural(lines.read, 'line'), *kinds])})"
        if self.output is None:
            return f"Nothing of {source} could be converted; no file was written"
        examples = plural(lines.written, "example")
        if self.complete and lines.unchanged == lines.written:
            return f"Nothing of {source} needs to be converted: {self.output} is a copy"
        if self.complete:
            return f"Converted {source}: {self.output} holds {examples}, and nothing was lost"
        if not lines.refused:
            return (
                f"Converted {source}: {self.output} holds {examples}, {lines.written_with_losses:,} with something lost"
            )
        return (
            f"Converted {source} only in part: {self.output} holds {examples} "
            f"({lines.written_with_losses:,} with something lost), and lacks {plural(lines.refused, 'line')}"
        )


class Losses:
    """Adds up what becomes of the lines: all losses are counted, the first few of each code are listed.

    :param every: called with each loss as plain JSON types.
    """

    def __init__(self, every: Callable[[dict[str, Any]], object] | None) -> None:
        self._every = every
        self._listed: list[LineLoss] = []
        self._counts: Counter[str] = Counter()
        self._formats: Counter[str] = Counter()
        self._lines: Counter[str] = Counter()

    def blank(self) -> None:
        """Count a line that holds nothing."""
        self._lines.update(("read", "blank"))

    def add(self, number: int, format_: Format | None, losses: list[Loss], *, written: bool) -> None:
        """Count a line and what it lost."""
        self._lines["read"] += 1
        self._lines["written" if written else "refused"] += 1
        if format_ is not None:
            self._formats[format_.value] += 1
        elif written:
            self._lines["unchanged"] += 1
        if losses and written:
            self._lines["written_with_losses"] += 1
        for loss in losses:
            self._add(number, loss)

    @property
    def lines_with_content(self) -> int:
        """How many lines held something."""
        return self._lines["read"] - self._lines["blank"]

    def report(self, source: str, output: str) -> ConversionReport:
        """Return the report on everything added."""
        lines = {name: self._lines[name] for name in LineCounts.model_fields}
        return ConversionReport(
            input=source,
            output=output if lines["written"] else None,
            complete=not self._counts,
            lines=LineCounts(**lines),
            formats=dict(self._formats),
            losses=tuple(self._listed),
            counts=dict(self._counts),
            truncated=self._counts.total() > len(self._listed),
        )

    def _add(self, number: int, loss: Loss) -> None:
        self._counts[loss.code] += 1
        listed = self._counts[loss.code] <= LISTED_PER_CODE
        if not listed and self._every is None:
            return
        document = {
            "line": number,
            "path": loss.path,
            "code": loss.code,
            "action": "refused" if loss.refused else "lost",
            "message": loss.message,
            "hint": loss.hint,
        }
        if self._every is not None:
            self._every(document)
        if listed:
            self._listed.append(LineLoss.from_json(document))
