"""Read one dataset file from end to end: its checksums, its faults, and the numbers of its examples."""

from __future__ import annotations

import bisect
import gzip
import time
from array import array
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field

from gemini_tuning.dataset.codes import Fault
from gemini_tuning.dataset.lines.examples import tokens_of
from gemini_tuning.dataset.lines.formats import Format
from gemini_tuning.dataset.lines.rules import Rules
from gemini_tuning.dataset.reading import ranges, sniffing
from gemini_tuning.dataset.reading.hashing import Checksums, HashingThread, LineEnds
from gemini_tuning.dataset.reading.pool import scan_all
from gemini_tuning.dataset.reading.progress import Progress, Report
from gemini_tuning.dataset.reading.ranges import UNPACKING_ERRORS, Tee
from gemini_tuning.dataset.reading.scanning import Scanned
from gemini_tuning.dataset.reading.source import OpenSource, reading
from gemini_tuning.dataset.reading.tallies import tally
from gemini_tuning.dataset.reading.worker import Task
from gemini_tuning.dataset.reports.report import MOST_SKIPPED_LINES, DatasetFile, Finding, Findings
from gemini_tuning.errors import UnusableInputError

ONE_PROCESS_UP_TO = 10_000_000  # bytes; starting others takes as long as reading this much
PROCESSES = 2
_EMPTY = Fault("empty-file", "the file is empty", "Write one example per line.")


@dataclass
class FileScan:
    """What reading a file found besides its faults.

    ``prompts`` holds a key of each example's prompt, in order; ``skipped`` the numbers, from 0, of
    the lines that are no example.
    """

    file: DatasetFile
    modified: int | None = None  # nanoseconds, of a file on disk
    prompts: array[int] = field(default_factory=lambda: array("Q"))
    skipped: array[int] = field(default_factory=lambda: array("Q"))
    characters: Counter[int] = field(default_factory=Counter)
    tokens: Counter[int] = field(default_factory=Counter)
    turns: Counter[int] = field(default_factory=Counter)
    roles: Counter[str] = field(default_factory=Counter)
    unpacked_bytes: int = 0
    instructed: int = 0
    with_files: int = 0
    unmeasured: int = 0
    dropped: int = 0
    _before: array[int] | None = None  # for each skipped line, how many examples come before it

    @property
    def reference(self) -> str:
        """The file as the user named it."""
        return self.file.path

    def line_of(self, example: int) -> int:
        """Return the line number, from 1, of the example at an index."""
        if self._before is None:
            self._before = array("Q", (line - index for index, line in enumerate(self.skipped)))
        return example + bisect.bisect_right(self._before, example) + 1


def read(
    source: OpenSource,
    rules: Rules,
    findings: Findings,
    *,
    processes: int | None = None,
    progress: Report | None = None,
) -> FileScan:
    """Read a file once and add what is wrong with it to the findings.

    :param processes: how many others take part, 0 = none; None = by the file's size.
    :raises UnusableInputError: when the file changes meanwhile.
    """
    return _Reading(source, rules, findings, processes, progress).run()


class _Reading:
    def __init__(
        self, source: OpenSource, rules: Rules, findings: Findings, processes: int | None, progress: Report | None
    ) -> None:
        self._source = source
        self._rules = rules
        self._findings = findings
        self._progress = progress
        self._began = time.monotonic()
        if processes is None:
            processes = PROCESSES if source.size > ONE_PROCESS_UP_TO else 0
        self._processes = processes
        self._checksums = Checksums()
        self._ends = LineEnds()
        self._legacy: dict[str, tuple[int, int]] = {}
        self._pair_sizes = array("I")
        self._lines = 0
        self._bytes = 0

    def run(self) -> FileScan:
        nothing = DatasetFile(path=self._source.reference, bytes=0, examples=0, sha256="", crc32c="")
        total = FileScan(nothing, self._source.modified)
        with ExitStack() as stack:
            for scanned in scan_all(self._tasks(stack), self._rules, self._processes):
                self._merge(scanned, total)
        if self._source.size == 0:
            self._add(_EMPTY)
        self._count_pairs(total)
        self._summarise()
        total.unpacked_bytes = self._bytes
        total.file = DatasetFile(
            path=self._source.reference,
            bytes=self._checksums.bytes,
            examples=total.characters.total(),
            sha256=self._checksums.sha256,
            crc32c=self._checksums.crc32c,
            generation=self._source.generation,
            skipped_lines=_listed(total.skipped),
        )
        return total

    def _tasks(self, stack: ExitStack) -> Iterator[Task]:
        """Yield the ranges to check; at their end the checksums are those of the whole file."""
        head = self._source.stream.peek(sniffing.SAMPLE)
        tee = Tee(self._source.stream, self._checksums.update)
        if head.startswith(sniffing.GZIP):
            self._add(Fault("compressed", "the file is gzip-compressed", "Unpack it: the service reads plain JSONL."))
            yield from self._packed(tee)
        elif (fault := sniffing.sniff(head)) is not None:
            self._add(fault)
        elif (path := self._source.path) is None:
            yield from ranges.of_stream(Tee(tee, self._ends.update).read)
        else:
            hashing = stack.enter_context(HashingThread(path, self._checksums, self._ends))
            with reading(self._source.reference):
                yield from ranges.of_file(path, self._source.size)
                hashing.join()
                modified = path.stat().st_mtime_ns
            if (self._checksums.bytes, modified) != (self._source.size, self._source.modified):
                raise UnusableInputError(f"{self._source.reference}: changed while it was checked; check it again.")
            return
        tee.drain()

    def _packed(self, tee: Tee) -> Iterator[Task]:
        unpacked = Tee(gzip.GzipFile(fileobj=tee), self._ends.update)  # type: ignore[call-overload]
        try:
            head = unpacked.read(sniffing.SAMPLE)
            if (fault := sniffing.sniff(head)) is not None or not head:
                self._add(fault or _EMPTY)
            else:
                yield from ranges.of_stream(unpacked.read, head=head)
        except UNPACKING_ERRORS:
            self._add(Fault("compressed", "the gzip file is damaged or cut off", "Send it again, unpacked."))

    def _merge(self, scanned: Scanned, total: FileScan) -> None:
        for number, fault in scanned.findings:
            self._findings.keep(self._finding(fault, self._lines + number + 1))
        for code, count in scanned.counts.items():
            self._findings.count(code, count)
        for name, (count, first) in scanned.legacy.items():
            earlier, line = self._legacy.get(name, (0, self._lines + first + 1))
            self._legacy[name] = (earlier + count, line)
        total.prompts.frombytes(scanned.prompts)
        total.skipped.extend(self._lines + number for number in array("Q", scanned.skipped))
        self._pair_sizes.frombytes(scanned.pair_sizes)
        total.characters.update(scanned.characters)
        total.tokens.update(scanned.tokens)
        total.turns.update(scanned.turns)
        total.roles.update(scanned.roles)
        total.instructed += scanned.instructed
        total.with_files += scanned.with_files
        total.unmeasured += scanned.unmeasured
        total.dropped += scanned.dropped
        self._lines += scanned.lines
        self._bytes += scanned.size
        if self._progress is not None:
            seconds = time.monotonic() - self._began
            size = max(self._source.size, self._bytes)
            self._progress(Progress(self._source.reference, self._bytes, size, self._lines, seconds))

    def _count_pairs(self, total: FileScan) -> None:
        for characters, count in tally(self._pair_sizes).items():
            total.characters[characters] += count
            total.tokens[tokens_of(characters)] += count
        if pairs := len(self._pair_sizes):
            total.turns[2] += pairs
            total.roles.update(user=pairs, model=pairs)

    def _summarise(self) -> None:
        """Add what is told once for the whole file."""
        for name, (count, line) in self._legacy.items():
            known = Format(name)
            lines = f"{count:,} line{'s are' if count > 1 else ' is'}"
            message = f"{lines} {known.label}, not Gemini's 'contents'"
            self._add(Fault("legacy-format", message, known.remedy(self._source.reference)), line)
        if self._ends.windows:
            lines = f"{self._ends.windows:,} line{'s end' if self._ends.windows > 1 else ' ends'}"
            message = f"{lines} with carriage return and line feed"
            self._add(Fault("crlf", message, "It does no harm; save with line feeds only to be rid of it."))

    def _add(self, fault: Fault, line: int | None = None) -> None:
        self._findings.add(self._finding(fault, line))

    def _finding(self, fault: Fault, line: int | None) -> Finding:
        return Finding(file=self._source.reference, line=line, **fault._asdict())


def _listed(skipped: array[int]) -> tuple[int, ...] | None:
    return None if len(skipped) > MOST_SKIPPED_LINES else tuple(line + 1 for line in skipped)
