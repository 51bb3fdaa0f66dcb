"""Check one range of a file's lines; several processes may each do it with ranges of their own."""

from __future__ import annotations

import io
import operator
import re
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import BinaryIO

import msgspec
from msgspec import UNSET

from gemini_tuning.dataset.codes import LISTED_PER_CODE, Fault
from gemini_tuning.dataset.lines import examples, judge, shapes
from gemini_tuning.dataset.lines.accept import (
    PAIR_OVERHEAD,
    PAIR_STRINGS,
    accept_conversation,
    acceptable,
    may_have_twins,
)
from gemini_tuning.dataset.lines.examples import Example, digests
from gemini_tuning.dataset.lines.formats import recognise
from gemini_tuning.dataset.lines.parsing import parse_fast
from gemini_tuning.dataset.lines.rules import Rules
from gemini_tuning.dataset.reading.source import LARGEST_LINE

RANGE = 8 * 1024 * 1024  # a range of ordinary size can't hold a line larger than LARGEST_LINE
_CHUNK = 256 * 1024
_MISSES_BEFORE_A_PAUSE = 8
_LINES_WITHOUT_PAIRS = 256  # in a row, for which none is looked for: other data loses nothing to looking in vain

# A text of plain words, without escapes: no rule looks into it, so that lines which differ in it get the same verdict.
_PLAIN_TEXT = re.compile(rb'"text": ?" *[!#-\[\]-~][ !#-\[\]-~]*"')
_ANY_TEXT = b'"text":"x"'
_LONGEST_REMEMBERED = 16 * 1024  # bytes
_MOST_REMEMBERED = 1024


class Scanned(msgspec.Struct):
    """What one range of ``size`` bytes holds. Line numbers count from 0 at its start.

    ``prompts``: a key of every example's prompt in order, as an array of 64-bit numbers; ``skipped``: the lines
    that are no example, likewise. ``findings``: the first of each code, the rest is only in ``counts``;
    ``unexplained``: lines, with their codes, whose findings are still to be put into words. ``legacy``: format ->
    number of lines, first line. ``pair_sizes``: characters of every question with its answer, as
    32-bit numbers. ``characters``, ``tokens``, ``turns``, ``roles``: value -> number, over all other examples.
    """

    lines: int = 0
    size: int = 0
    prompts: bytes = b""
    skipped: bytes = b""
    pair_sizes: bytes = b""
    findings: list[tuple[int, Fault]] = []  # msgspec copies the empty list
    unexplained: list[tuple[int, bytes, list[str]]] = []
    counts: dict[str, int] = {}
    legacy: dict[str, tuple[int, int]] = {}
    characters: dict[int, int] = {}
    tokens: dict[int, int] = {}
    turns: dict[int, int] = {}
    roles: dict[str, int] = {}
    instructed: int = 0
    with_files: int = 0
    unmeasured: int = 0
    dropped: int = 0


class Explainer:
    """Puts into words what scanners that don't explain found in ranges of one file, taken in their order."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._told: Counter[str] = Counter()

    def explain(self, scanned: Scanned) -> None:
        """Add to the findings what is not told often enough yet."""
        words = []
        for number, line, codes in scanned.unexplained:
            if any(self._told[code] < LISTED_PER_CODE for code in codes):
                self._told.update(codes)
                document = parse_fast(line.removesuffix(b"\n"))[0]
                words += [(number, fault) for fault in judge.faults(document, self._rules)]
        scanned.findings = sorted([*words, *scanned.findings], key=operator.itemgetter(0))
        scanned.unexplained = []


class Scanner:
    """Scans ranges of one file, in their order; remembers which codes it has listed often enough.

    :param explains: False leaves the words to an ``Explainer``, and ``jsonschema`` out of this process: loading that
        takes as long as scanning 60,000 lines.
    """

    def __init__(self, rules: Rules, *, explains: bool = True) -> None:
        self._rules = rules
        self._explains = explains
        self._errors = {code for code, severity in rules.severities.items() if severity == "error"}
        self._listed: Counter[str] = Counter()
        self._told_enough = {code for code, severity in rules.severities.items() if severity == "ignore"}
        longest = (rules.tokens_per_example or LARGEST_LINE) * examples.CHARACTERS_PER_TOKEN
        self._ordinary = min(longest, 2 * _CHUNK)  # bytes of lines among which none is long enough to be a fault
        self._rejected: dict[bytes, list[str]] = {}

    def scan(self, stream: BinaryIO, size: int) -> Scanned:
        """Check ``size`` bytes of lines from where the stream stands."""
        found = _Range()
        for block, total in _blocks(stream, size, self._ordinary // 2):
            lines = block.count(b"\n")
            if total > self._ordinary:  # one of them may be too long for anything
                for number, line in enumerate(io.BytesIO(block), found.lines):
                    self._long_line(number, line, found)
            else:
                self._lines(block, found)
            found.fold()
            found.lines += lines
            found.size += total
        return found.packed()

    def _lines(self, block: bytes, found: _Range) -> None:  # here calls are what costs
        """Check lines of ordinary length; a pair that is good is accepted without calling another function."""
        decode, unset, overhead = shapes.decode_pair, UNSET, PAIR_OVERHEAD
        add_prompt, add_size = found.pending.append, found.pair_sizes.append
        lines = io.BytesIO(block)
        misses, pairs = 0, -1  # in a row, and how many there were at the last
        for line in lines:
            try:
                pair = decode(line)
            except shapes.UNREADABLE:
                self._line(line, found)
                misses = misses + 1 if pairs == len(found.pair_sizes) else 1
                pairs = len(found.pair_sizes)
                if misses >= _MISSES_BEFORE_A_PAUSE:
                    for other in islice(lines, _LINES_WITHOUT_PAIRS):
                        self._line(other, found)
                continue
            user, model = pair.contents
            (asked,), (said,) = user.parts, model.parts
            prompt, answer = asked.text, said.text
            characters = len(prompt) + len(answer)
            good = not (prompt.isspace() or answer.isspace())
            if len(line) - characters > overhead:
                instruction = pair.systemInstruction  # without one a line is no longer than that, or has escapes
                quoted = prompt.count('"') + answer.count('"')
                if instruction is unset:
                    good = good and not may_have_twins(line, PAIR_STRINGS, quoted)
                else:
                    good = good and acceptable(instruction, line, quoted)
                    found.instructed += good
                    characters += sum(len(part.text) for part in instruction.parts)
            if good:
                add_size(characters)
                add_prompt(prompt)
            else:
                self._line(line, found)

    def _line(self, line: bytes, found: _Range) -> None:
        """Check a line of ordinary length that is no good pair."""
        conversation = accept_conversation(line)
        if conversation is not None:
            self._example(found.seen, conversation, found)
        else:
            self._judge(found.seen, line, found)

    def _long_line(self, number: int, line: bytes, found: _Range) -> None:
        if len(line.removesuffix(b"\n")) > LARGEST_LINE:
            message = f"longer than {LARGEST_LINE >> 20} MiB"
            fault = Fault("line-too-long", message, "One line holds one example.")
            self._report(number, [fault], found)
            found.skipped.append(number)
        else:
            self._judge(number, line, found)

    def _judge(self, number: int, line: bytes, found: _Range) -> None:
        """Judge a line, or remember the verdict on one that differs in nothing but the words of its texts."""
        skeleton = _PLAIN_TEXT.sub(_ANY_TEXT, line) if len(line) <= _LONGEST_REMEMBERED else b""
        known = self._rejected.get(skeleton)
        if known is None or not self._told_enough.issuperset(known):
            known = self._judge_anew(number, line, found)
            if known and skeleton and len(self._rejected) < _MOST_REMEMBERED:
                self._rejected[skeleton] = known
        else:
            found.skipped.append(number)
            for code in known:
                found.counts[code] += 1

    def _judge_anew(self, number: int, line: bytes, found: _Range) -> list[str]:
        """Judge a line; return its codes if that is all there is to say of it: no example, no other format."""
        document, unreadable = parse_fast(line.removesuffix(b"\n"))
        if unreadable:
            self._report(number, [unreadable], found)
            found.skipped.append(number)
            return [unreadable.code]
        codes = judge.codes(document, self._rules)
        if codes and (known := recognise(document)) is not None:
            count, first = found.legacy.get(known, (0, number))
            found.legacy[known] = (count + 1, first)
            found.skipped.append(number)
            return []
        if self._told_enough.issuperset(codes):
            found.counts.update(codes)
        elif self._explains:
            self._report(number, judge.faults(document, self._rules), found)
        else:
            found.unexplained.append((number, line, codes))
            found.counts.update(codes)
            self._list(codes)
        example = None if self._errors.intersection(codes) else self._try_example(document)
        if example is not None:
            self._example(number, example, found, dropped="too-many-files" in codes)
            return []
        found.skipped.append(number)
        return codes

    def _try_example(self, document: object) -> Example | None:
        """Return the example even of a line whose faults were made harmless, if it can be read as one."""
        try:
            return examples.example(document, self._rules.media_types)  # type: ignore[arg-type]
        except examples.NOT_AN_EXAMPLE:
            return None

    def _example(self, number: int, example: Example, found: _Range, *, dropped: bool = False) -> None:
        tokens = example.tokens
        found.pending.append(example.prompt)
        found.characters[example.characters] += 1
        found.tokens[tokens] += 1
        found.turns[len(example.roles)] += 1
        found.roles.update(example.roles)
        found.instructed += example.instructed
        if example.files:
            found.with_files += 1
            found.unmeasured += example.unmeasured
        if self._rules.tokens_per_example and tokens > self._rules.tokens_per_example:
            dropped = True
            self._report(number, [long_example(tokens, self._rules.tokens_per_example)], found)
        found.dropped += dropped

    def _report(self, number: int, faults: list[Fault], found: _Range) -> None:
        for fault in faults:
            found.counts[fault.code] += 1
            if fault.code not in self._told_enough:
                found.findings.append((number, fault))
                self._list([fault.code])

    def _list(self, codes: Iterable[str]) -> None:
        """Remember that they are told of."""
        for code in codes:
            self._listed[code] += 1
            if self._listed[code] >= LISTED_PER_CODE:
                self._told_enough.add(code)


class _Range:
    """The counters of one range while it is read."""

    def __init__(self) -> None:
        self.lines = 0
        self.size = 0
        self.prompts = array("Q")
        self.pending: list[str] = []  # prompts without a key yet: one after the other they take less time
        self.skipped = array("Q")
        self.pair_sizes = array("I")
        self.findings: list[tuple[int, Fault]] = []
        self.unexplained: list[tuple[int, bytes, list[str]]] = []
        self.counts: Counter[str] = Counter()
        self.legacy: dict[str, tuple[int, int]] = {}
        self.characters: Counter[int] = Counter()
        self.tokens: Counter[int] = Counter()
        self.turns: Counter[int] = Counter()
        self.roles: Counter[str] = Counter()
        self.instructed = self.with_files = self.unmeasured = self.dropped = 0

    @property
    def seen(self) -> int:
        """How many lines it knows all about."""
        return len(self.prompts) + len(self.pending) + len(self.skipped)

    def fold(self) -> None:
        """Keep no more of the prompts than their keys."""
        self.prompts.extend(digests(self.pending))
        self.pending.clear()

    def packed(self) -> Scanned:
        """Return everything in a form that can be sent."""
        return Scanned(
            lines=self.lines,
            size=self.size,
            prompts=self.prompts.tobytes(),
            skipped=self.skipped.tobytes(),
            findings=self.findings,
            unexplained=self.unexplained,
            pair_sizes=self.pair_sizes.tobytes(),
            counts=dict(self.counts),
            legacy=self.legacy,
            characters=dict(self.characters),
            tokens=dict(self.tokens),
            turns=dict(self.turns),
            roles=dict(self.roles),
            instructed=self.instructed,
            with_files=self.with_files,
            unmeasured=self.unmeasured,
            dropped=self.dropped,
        )


def _blocks(stream: BinaryIO, size: int, ordinary: int) -> Iterator[tuple[bytes, int]]:
    """Yield whole lines with their bytes in all; a line over ``LARGEST_LINE`` is cut just beyond it."""
    left = size
    while left > 0:
        if size <= LARGEST_LINE:
            block = stream.read(min(left, ordinary))
            if len(block) < left and not block.endswith(b"\n"):
                block += stream.readline()
            total = len(block)
        else:
            block, total = bounded_line(stream)
        if not block:
            return
        if not block.endswith(b"\n"):
            block += b"\n"  # every line has one then, as accepting them counts on
        left -= total
        yield block, total


def bounded_line(stream: BinaryIO) -> tuple[bytes, int]:
    """Return the next line, cut just beyond ``LARGEST_LINE``, and its whole length in bytes."""
    line = stream.readline(LARGEST_LINE + 1)
    total, rest = len(line), line
    while len(rest) > LARGEST_LINE and not rest.endswith(b"\n"):
        rest = stream.readline(LARGEST_LINE + 1)
        total += len(rest)
    return line, total


def long_example(tokens: int, most: int, *, counted: bool = False) -> Fault:
    """Return the fault of an example of too many tokens.

    :param counted: the service counted them; else they are estimated.
    """
    many = f"{tokens:,} tokens (counted)" if counted else f"about {tokens:,} tokens (estimated, good to about a third)"
    message = f"{many}, the service takes {most:,} in an example"
    return Fault("long-example", message, "The service drops examples over its limit: shorten or split it.")
