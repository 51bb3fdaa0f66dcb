"""Compare examples within a file, between files, and with the smoke suite.

Of every prompt there is a key; only lines that share theirs are read again and compared in full, so that files of good
examples pay next to nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple

import xxhash

from gemini_tuning.dataset.codes import Fault
from gemini_tuning.dataset.lines.examples import NOT_AN_EXAMPLE, digest, example, normalised
from gemini_tuning.dataset.lines.parsing import parse
from gemini_tuning.dataset.reading.files import FileScan
from gemini_tuning.dataset.reading.tallies import repeated
from gemini_tuning.dataset.reports.report import Finding, Findings
from gemini_tuning.errors import UnusableInputError

Lines = Callable[[FileScan], AbstractContextManager[Iterator[bytes]]]


class Looked(NamedTuple):
    """Digests of one line: of its bytes, and of its normalised prompt, context and answer."""

    line: int
    exact: int
    prompt: int
    context: int
    answer: int


def compare(
    scans: Sequence[FileScan],
    key: Callable[[str], int],
    smoke_prompts: Sequence[str],
    findings: Findings,
    lines: Lines,
) -> None:
    """Add what examples have in common to the findings.

    :param scans: of the training file and, maybe, the validation file.
    :param key: what the keys of their prompts were made with.
    :param smoke_prompts: what the tuned model will be asked.
    :param lines: opens a file again, from its first line.
    """
    training, *validation = scans
    elsewhere = {key(prompt) for prompt in smoke_prompts}.union(*(scan.prompts for scan in validation))
    shared = elsewhere.intersection(training.prompts) if elsewhere else elsewhere
    looked = [list(_look(scan, repeated(scan.prompts) | shared, lines)) for scan in scans]
    for scan, found in zip(scans, looked, strict=True):
        _within(scan, found, findings)
    first = {one.prompt: one.line for one in reversed(looked[0])}
    for scan, found in zip(validation, looked[1:], strict=True):
        _leaks(scan, found, first, training.reference, findings)
    _smoke_leaks(training, smoke_prompts, first, findings)


def _look(scan: FileScan, keys: set[int], lines: Lines) -> Iterator[Looked]:
    """Read the lines again whose prompts have one of the keys."""
    if not keys:
        return
    wanted = (scan.line_of(index) for index, key in enumerate(scan.prompts) if key in keys)
    with lines(scan) as stream:
        for number, line in picked(stream, wanted):
            try:
                found = example(parse(line.removesuffix(b"\n"))[0], {})
            except NOT_AN_EXAMPLE:
                raise UnusableInputError(f"{scan.reference}: changed while it was checked; check it again.") from None
            yield Looked(
                number,
                xxhash.xxh3_64_intdigest(line.rstrip(b"\r\n")),
                digest(normalised(found.prompt)),
                digest(normalised(found.context)),
                digest(normalised(found.answer)),
            )


def picked(stream: Iterator[bytes], wanted: Iterable[int]) -> Iterator[tuple[int, bytes]]:
    """Yield number and bytes of the wanted lines, and read no further than the last of them.

    :param wanted: line numbers from 1, ascending.
    """
    numbers = iter(wanted)
    next_ = next(numbers, None)
    if next_ is None:
        return
    for number, line in enumerate(stream, 1):
        if number == next_:
            yield number, line
            next_ = next(numbers, None)
            if next_ is None:
                return


def _within(scan: FileScan, looked: list[Looked], findings: Findings) -> None:
    exact: dict[int, int] = {}
    same: dict[tuple[int, int, int], int] = {}
    prompts: dict[tuple[int, int], int] = {}
    for one in looked:
        asked, said = (one.prompt, one.context), (one.prompt, one.context, one.answer)
        if (first := exact.setdefault(one.exact, one.line)) != one.line:
            fault = Fault("duplicate-example", f"the same as line {first}", "Remove it, unless it is meant.")
        elif (first := same.get(said, one.line)) != one.line:
            message = f"the same as line {first} but for case, spaces or closing punctuation"
            fault = Fault("normalised-duplicate", message, "Remove it, unless it is meant.")
        elif (first := prompts.get(asked, one.line)) != one.line:
            message = f"the same prompt as line {first}, with another answer"
            fault = Fault("repeated-prompt", message, "Decide for one, unless both are meant: the model learns both.")
        else:
            fault = None
        same.setdefault(said, one.line)
        prompts.setdefault(asked, one.line)
        if fault is not None:
            findings.add(Finding(file=scan.reference, line=one.line, **fault._asdict()))


def _leaks(
    validation: FileScan, looked: list[Looked], first: dict[int, int], training: str, findings: Findings
) -> None:
    """Warn of validation prompts that training contains: they make the validation loss look better than it is."""
    for one in looked:
        if (twin := first.get(one.prompt)) is not None:
            fault = Fault(
                "validation-leak",
                f"the same prompt as training line {twin} ({training})",
                "Keep it in one of the two files.",
            )
            findings.add(Finding(file=validation.reference, line=one.line, **fault._asdict()))


def _smoke_leaks(training: FileScan, prompts: Sequence[str], first: dict[int, int], findings: Findings) -> None:
    """Warn of smoke tests that only ask what was learned by heart."""
    for number, prompt in enumerate(prompts, 1):
        if (line := first.get(digest(normalised(prompt)))) is not None:
            message = f"the prompt of smoke test {number}"
            hint = "Ask something else there: this one shows memory, not what the model makes of new prompts."
            findings.add(Finding(code="smoke-leak", file=training.reference, line=line, message=message, hint=hint))
