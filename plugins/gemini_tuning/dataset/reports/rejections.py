"""Tell every rejected line of a dataset again, with all its faults: a check keeps a number of it, and few faults."""

from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from heapq import merge
from itertools import groupby
from typing import BinaryIO

from gemini_tuning.dataset.codes import Fault
from gemini_tuning.dataset.lines.formats import Format
from gemini_tuning.dataset.lines.rules import Rules
from gemini_tuning.dataset.reading.files import FileScan
from gemini_tuning.dataset.reading.ranges import UNPACKING_ERRORS
from gemini_tuning.dataset.reading.scanning import Scanner
from gemini_tuning.dataset.reports.quarantine import RejectedLine, rejected_lines
from gemini_tuning.dataset.reports.report import Finding

_OF_EXAMPLES = ("long-example", "degenerate-answer")  # where they are made errors, examples are rejected too


class Rejections:
    """Gathers what only a comparison with other lines rejects; the faults of a line by itself are found once more."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._compared: dict[tuple[str, int], list[Finding]] = defaultdict(list)

    def add(self, finding: Finding) -> None:
        """Remember an error that doesn't come from reading the line by itself."""
        if finding.line is not None and finding.code != "legacy-format":
            self._compared[finding.file, finding.line].append(finding)

    def of(self, scan: FileScan, stream: BinaryIO) -> Iterator[RejectedLine]:
        """Yield the rejected lines of a file, in their order.

        :param stream: the file, opened anew and unpacked.
        """
        with suppress(*UNPACKING_ERRORS):  # a damaged file was read no further
            yield from rejected_lines(
                scan.reference, stream, self._numbers(scan), lambda number, raw: self._faults(scan, number, raw)
            )

    def _numbers(self, scan: FileScan) -> Iterable[int]:
        if any(self._rejects(code) for code in _OF_EXAMPLES):
            return range(1, len(scan.prompts) + len(scan.skipped) + 1)
        compared = sorted(line for file, line in self._compared if file == scan.reference)
        skipped = (line + 1 for line in scan.skipped)
        return (number for number, _ in groupby(merge(skipped, compared)))

    def _faults(self, scan: FileScan, number: int, raw: bytes) -> Sequence[Finding]:
        scanner = Scanner(self._rules)  # a new one: it lists everything
        found = scanner.scan(io.BytesIO(raw + b"\n"), len(raw) + 1)
        faults = [fault for _, fault in found.findings]
        for name in found.legacy:
            known = Format(name)
            message = f"the line is {known.label}, not Gemini's 'contents'"
            faults.append(Fault("legacy-format", message, known.remedy(scan.reference)))
        own = [
            Finding(file=scan.reference, line=number, **fault._asdict())
            for fault in faults
            if self._rejects(fault.code)
        ]
        return [*own, *self._compared.get((scan.reference, number), ())]

    def _rejects(self, code: str) -> bool:
        return self._rules.severities[code] == "error"
