"""What a second reading of the examples tells: near-duplicates, private data, and whether validation is like training.

The first reading accepts or rejects each line by itself. These look at the whole of them, cost more, and are left out
where they would take long or nobody asked for them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from tempfile import TemporaryFile
from typing import Any

from gemini_tuning.dataset.codes import Fault
from gemini_tuning.dataset.comparing.drift import Profile, differences
from gemini_tuning.dataset.comparing.duplicates import Lines, picked
from gemini_tuning.dataset.comparing.near import NearDuplicates, fits_in_a_minute, usable
from gemini_tuning.dataset.lines.examples import NOT_AN_EXAMPLE, Example, example
from gemini_tuning.dataset.lines.parsing import parse_fast
from gemini_tuning.dataset.options import PrivateData
from gemini_tuning.dataset.private.scanner import Kind, Pattern, Scanner
from gemini_tuning.dataset.reading.files import FileScan
from gemini_tuning.dataset.reports.report import Finding, Findings
from gemini_tuning.errors import UnusableInputError


def analyse(
    scans: Sequence[FileScan], near_duplicates: bool | None, scanner: Scanner | None, findings: Findings, lines: Lines
) -> list[str]:
    """Add what a second reading finds to the findings; return what a person should know about how far it went.

    :param scans: of the training file and, maybe, the validation file.
    :param near_duplicates: whether to compare all prompts with each other; None = where it takes less than a minute.
    :param scanner: looks for private data; None = nobody asked for that.
    :param lines: opens a file again, from its first line.
    :raises UnusableInputError: when a file changed since it was checked.
    """
    examples, size = sum(len(scan.prompts) for scan in scans), sum(scan.unpacked_bytes for scan in scans)
    quick = fits_in_a_minute(examples, size)
    near = None
    if usable() and (quick if near_duplicates is None else near_duplicates):
        near = NearDuplicates(*(scan.reference for scan in scans))
    profiled = len(scans) > 1 and (quick or near is not None or scanner is not None)
    notes = _left_out(near is None, near_duplicates, len(scans) > 1 and not profiled)
    if near is None and scanner is None and not profiled:
        return notes
    profiles = [Profile() for _ in scans]
    for place, scan in enumerate(scans):
        for line, document, found in _examples(scan, map(scan.line_of, range(len(scan.prompts))), lines):
            profiles[place].add(len(found.prompt), found.answer, len(found.roles))
            if near is not None:
                (near.add_validation if place else near.add_training)(line, found.prompt)
            if scanner is not None:
                _add(findings, scan, line, scanner.faults(document))
    if profiled:
        _add(findings, scans[1], None, differences(*profiles))
    if near is not None:
        notes += _compare(near, scans, findings, lines)
    return notes


def scanner_of(chosen: PrivateData | None) -> Scanner | None:
    """Return what looks for private data as somebody chose it, or None.

    :raises ConfigError: for a pattern that is none.
    """
    if chosen is None:
        return None
    patterns = [Pattern(item.name, item.expression, item.checksum) for item in chosen.patterns]
    return Scanner([Kind(kind) for kind in chosen.kinds], patterns)


def _left_out(no_near: bool, near_duplicates: bool | None, no_profiles: bool) -> list[str]:
    notes = []
    if no_near:
        why = "that would take more than a minute, and has to be asked for"
        if near_duplicates is False:
            why = "that was switched off"
        elif not usable():
            why = "this process was forked from one that had done so, where that isn't possible"
        notes.append(f"Near-duplicates were not looked for: {why}.")
    if no_profiles:
        notes.append("Lengths and labels of validation and training were not compared, for the same reason.")
    return notes


def _examples(scan: FileScan, wanted: Iterable[int], lines: Lines) -> Iterator[tuple[int, dict[str, Any], Example]]:
    """Yield line number, document and example of the wanted lines; their numbers ascend."""
    with lines(scan) as stream:
        for number, line in picked(stream, wanted):
            try:
                document = parse_fast(line.removesuffix(b"\n"))[0]
                yield number, document, example(document, {})
            except NOT_AN_EXAMPLE:
                raise UnusableInputError(f"{scan.reference}: changed while it was checked; check it again.") from None


def _compare(near: NearDuplicates, scans: Sequence[FileScan], findings: Findings, lines: Lines) -> list[str]:
    """Read the prompts of likely pairs again, this time only them, and report the pairs that hold."""
    with TemporaryFile() as spool:  # they may be many and long
        places: dict[tuple[str, int], tuple[int, int]] = {}
        for scan, wanted in zip(scans, near.wanted(), strict=False):
            for line, _, found in _examples(scan, sorted(wanted), lines):
                prompt = found.prompt.encode()
                places[scan.reference, line] = (spool.tell(), len(prompt))
                spool.write(prompt)

        def text_of(file: str, line: int) -> str:
            start, length = places[file, line]
            spool.seek(start)
            return spool.read(length).decode()

        for finding in near.findings(text_of):
            findings.add(finding)
    notes = []
    if near.sampled:
        notes.append("Near-duplicates were looked for in a sample: {:,} of {:,} prompts.".format(*near.sampled))
    if near.unverified:
        notes.append(f"{near.unverified:,} more pairs of prompts look alike; they were not compared word by word.")
    return notes


def _add(findings: Findings, scan: FileScan, line: int | None, faults: Iterator[Fault]) -> None:
    for fault in faults:
        findings.add(Finding(file=scan.reference, line=line, **fault._asdict()))
