"""Compare examples within a file, between files, and with the smoke suite.

Of every prompt there is a key; only lines that share theirs are read again and compared in full, so that files of good
examples pay next to nothing. That may be every line of a million, so nothing is kept of one but a few numbers in
arrays: 36 bytes.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from itertools import islice
from struct import Struct
from typing import NamedTuple

import xxhash

from gemini_tuning.dataset.codes import Fault
from gemini_tuning.dataset.lines.accept import accept_conversation
from gemini_tuning.dataset.lines.examples import NOT_AN_EXAMPLE, Example, digest, example, normalised
from gemini_tuning.dataset.lines.parsing import parse
from gemini_tuning.dataset.reading.files import FileScan
from gemini_tuning.dataset.reading.tallies import firsts, shared
from gemini_tuning.dataset.reports.report import Finding, Findings
from gemini_tuning.errors import UnusableInputError

Lines = Callable[[FileScan], AbstractContextManager[Iterator[bytes]]]

_digest = xxhash.xxh3_64_intdigest
_pair = Struct("=2Q").pack


class _Prompts(NamedTuple):
    """Places of some examples of a file, and of each a digest of its normalised prompt."""

    scan: FileScan
    places: array[int]
    digests: array[int]

    def add(self, index: int, fault: Fault, findings: Findings) -> None:
        """Add a fault of the example at an index here."""
        findings.add(Finding(file=self.scan.reference, line=self.line(index), **fault._asdict()))

    def line(self, index: int) -> int:
        """Return the number of its line."""
        return self.scan.line_of(self.places[index])


def compare(
    scans: Sequence[FileScan],
    keys: Sequence[array[int]],
    key: Callable[[str], int],
    smoke_prompts: Sequence[str],
    findings: Findings,
    lines: Lines,
) -> None:
    """Add what examples have in common to the findings.

    :param scans: of the training file and, maybe, the validation file.
    :param keys: of the prompts of each file, in order.
    :param key: what the keys were made with.
    :param smoke_prompts: what the tuned model will be asked.
    :param lines: opens a file again, from its first line.
    :raises UnusableInputError: when a file changed since it was checked.
    """
    asked = array("Q", map(key, smoke_prompts))
    wanted = [shared(keys[0], [*keys[1:], asked]), *(shared(other, keys[:1]) for other in keys[1:])]
    training, *others = [_within(*file, findings, lines) for file in zip(scans, wanted, strict=True)]
    for validation in others:
        for index, first in _known(validation.digests, training):
            message = f"the same prompt as training line {training.line(first)} ({training.scan.reference})"
            # a leak makes the validation loss look better than it is
            validation.add(index, Fault("validation-leak", message, "Keep it in one of the two files."), findings)
    suite = array("Q", (digest(normalised(prompt)) for prompt in smoke_prompts))
    for index, first in _known(suite, training):
        message = f"the prompt of smoke test {index + 1}"
        hint = "Ask something else there: this one shows memory, not what the model makes of new prompts."
        training.add(first, Fault("smoke-leak", message, hint), findings)


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


def _within(scan: FileScan, wanted: array[int], findings: Findings, lines: Lines) -> _Prompts:
    """Add what the wanted examples of one file have in common; return their prompts."""
    exact, prompts, asked, said = (array("Q") for _ in range(4))
    for line, found in _examples(scan, wanted, lines):
        prompt = digest(normalised(found.prompt))
        question = _digest(_pair(prompt, digest(normalised(found.context))))
        exact.append(_digest(line.rstrip(b"\r\n")))
        prompts.append(prompt)
        asked.append(question)
        said.append(_digest(_pair(question, digest(normalised(found.answer)))))
    looked = _Prompts(scan, wanted, prompts)
    exact = firsts(exact)  # one after the other: each needs more memory while it is made
    said = firsts(said)
    asked = firsts(asked)
    for index, (same, alike, other) in enumerate(zip(exact, said, asked, strict=True)):
        if same < index:
            message = f"the same as line {looked.line(same)}"
            fault = Fault("duplicate-example", message, "Remove it, unless it is meant.")
        elif alike < index:
            message = f"the same as line {looked.line(alike)} but for case, spaces or closing punctuation"
            fault = Fault("normalised-duplicate", message, "Remove it, unless it is meant.")
        elif other < index:
            message = f"the same prompt as line {looked.line(other)}, with another answer"
            fault = Fault("repeated-prompt", message, "Decide for one, unless both are meant: the model learns both.")
        else:
            continue
        looked.add(index, fault, findings)
    return looked


def _examples(scan: FileScan, wanted: array[int], lines: Lines) -> Iterator[tuple[bytes, Example]]:
    """Read the wanted examples again, each with its line."""
    if not wanted:
        return
    with lines(scan) as stream:
        for _, line in picked(stream, map(scan.line_of, wanted)):
            try:
                yield line, accept_conversation(line) or example(parse(line.removesuffix(b"\n"))[0], {})
            except NOT_AN_EXAMPLE:
                raise UnusableInputError(f"{scan.reference}: changed while it was checked; check it again.") from None


def _known(prompts: array[int], training: _Prompts) -> Iterator[tuple[int, int]]:
    """Yield the indices of prompts that training has, each with that of the first there."""
    edge = len(training.digests)
    if not prompts or not edge:
        return
    for index, first in enumerate(islice(firsts(training.digests + prompts), edge, None)):
        if first < edge:
            yield index, first
