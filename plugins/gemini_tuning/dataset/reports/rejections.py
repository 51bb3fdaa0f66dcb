"""Tell every rejected line of a dataset again, with all its faults: a check keeps a number of it, and few faults."""

from __future__ import annotations

import io
import json
import weakref
from array import array
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from heapq import merge
from itertools import groupby
from tempfile import TemporaryFile
from typing import BinaryIO

from gemini_tuning.dataset.codes import Fault
from gemini_tuning.dataset.lines.formats import Format
from gemini_tuning.dataset.lines.rules import Rules
from gemini_tuning.dataset.reading.files import FileScan
from gemini_tuning.dataset.reading.ranges import UNPACKING_ERRORS
from gemini_tuning.dataset.reading.scanning import Scanner
from gemini_tuning.dataset.reading.tallies import ascending
from gemini_tuning.dataset.reports.quarantine import RejectedLine, rejected_lines
from gemini_tuning.dataset.reports.report import Finding

_OF_EXAMPLES = "long-example"  # the one fault of a line by itself that leaves it an example, even as an error


class _Compared:
    """Numbers of lines, and for each where the words of a fault stand: they may be millions."""

    def __init__(self) -> None:
        self.lines = array("Q")
        self.places = array("Q")

    def sort(self) -> None:
        order = ascending(self.lines)
        self.lines = array("Q", map(self.lines.__getitem__, order))
        self.places = array("Q", map(self.places.__getitem__, order))

    def of(self, line: int) -> array[int]:
        """Return the places of what is wrong with a line, once sorted."""
        return self.places[bisect_left(self.lines, line) : bisect_right(self.lines, line)]


class Rejections:
    """Gathers what only a comparison with other lines rejects; the faults of a line by itself are found once more.

    The words wait in a temporary file, smaller than the one they are gathered for.
    """

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._compared: dict[str, _Compared] = defaultdict(_Compared)
        self._words = TemporaryFile()  # noqa: SIM115  # closed with this object, whoever holds it
        weakref.finalize(self, self._words.close)

    def add(self, finding: Finding) -> None:
        """Remember an error that doesn't come from reading the line by itself; to be done before any is told."""
        if finding.line is not None and finding.code != "legacy-format":
            compared = self._compared[finding.file]
            compared.lines.append(finding.line)
            compared.places.append(self._words.tell())
            words = Fault(finding.code, finding.message, finding.hint, finding.path, finding.column)
            self._words.write(json.dumps(words).encode() + b"\n")

    def of(self, scan: FileScan, stream: BinaryIO) -> Iterator[RejectedLine]:
        """Yield the rejected lines of a file, in their order.

        :param stream: the file, opened anew and unpacked.
        """
        self._compared[scan.reference].sort()
        with suppress(*UNPACKING_ERRORS):  # a damaged file was read no further
            yield from rejected_lines(
                scan.reference, stream, self._numbers(scan), lambda number, raw: self._faults(scan, number, raw)
            )

    def _numbers(self, scan: FileScan) -> Iterable[int]:
        if self._rejects(_OF_EXAMPLES):
            return range(1, len(scan.prompts) + len(scan.skipped) + 1)
        skipped = (line + 1 for line in scan.skipped)
        return (number for number, _ in groupby(merge(skipped, self._compared[scan.reference].lines)))

    def _faults(self, scan: FileScan, number: int, raw: bytes) -> Sequence[Finding]:
        scanner = Scanner(self._rules)  # a new one: it lists everything
        found = scanner.scan(io.BytesIO(raw + b"\n"), len(raw) + 1)
        faults = [fault for _, fault in found.findings]
        for name in found.legacy:
            known = Format(name)
            message = f"the line is {known.label}, not Gemini's 'contents'"
            faults.append(Fault("legacy-format", message, known.remedy(scan.reference)))
        faults = [fault for fault in faults if self._rejects(fault.code)]
        for place in self._compared[scan.reference].of(number):
            self._words.seek(place)
            faults.append(Fault(*json.loads(self._words.readline())))
        return [Finding(file=scan.reference, line=number, **fault._asdict()) for fault in faults]

    def _rejects(self, code: str) -> bool:
        return self._rules.severities[code] == "error"
