"""Have the service count tokens where somebody asked for it: in a sample, for the cost, and of doubtful lengths.

The first reading leaves only how many examples have how many estimated tokens. The lines that are asked about are read
again, and what the sample shows of the estimate corrects it for all the others.
"""

from __future__ import annotations

import math
import re
from array import array
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from random import Random
from threading import Thread
from typing import Any, NamedTuple

from msgspec.structs import replace

from gemini_tuning.dataset.comparing.duplicates import Lines, picked
from gemini_tuning.dataset.cost import Tokens
from gemini_tuning.dataset.lines import judge
from gemini_tuning.dataset.lines.examples import CHARACTERS_PER_TOKEN, NOT_AN_EXAMPLE, Example, example
from gemini_tuning.dataset.lines.parsing import parse_fast
from gemini_tuning.dataset.lines.rules import Rules
from gemini_tuning.dataset.reading.files import FileScan
from gemini_tuning.dataset.reading.scanning import long_example
from gemini_tuning.dataset.reports.report import ERROR_BAND, Finding, Findings, plural
from gemini_tuning.errors import ConfigError, GeminiTuningError, UnusableInputError

SAMPLE = 200  # examples, spread over the training file
MOST = 1_000  # further examples of each file, so that the number of requests is bounded
_AT_ONCE = 4  # requests
_ADVICE = "Exact counting of tokens needs Vertex AI; without exact_tokens they are estimated, and nothing is asked."
_LONGEST_JSON = 5  # times as long as in the line, at most, is what the estimate counts of it: 1e15 is written out
_MAY_SHOW_FILES = re.compile(rb"file_?[Uu]ri|\\u00[4-7]")  # the key, also where its letters are escaped

Count = Callable[[dict[str, Any], str], int]  # of an example; its place is for the error


def connected(counter: Callable[[], Count] | None) -> Count:
    """Return what counts the tokens of an example.

    :raises GeminiTuningError: of the kind the connection fails with, with the advice how to do without it.
    """
    if counter is None:
        raise ConfigError(f"exact_tokens: there is no connection to count with. {_ADVICE}")
    with _advising():
        return counter()


def without_length(rules: Rules) -> Rules:
    """Return rules by which the first reading leaves the length of examples to be counted."""
    return replace(rules, tokens_per_example=None)


def count_tokens(
    scans: Sequence[FileScan], rules: Rules, count: Count, findings: Findings, lines: Lines
) -> tuple[Tokens, list[str]]:
    """Return the tokens of the training file, and what a person should know; add too long examples to the findings.

    :param scans: of the training file and, maybe, the validation file, read by ``without_length``.
    :param lines: opens a file again, from its first line.
    :raises UnusableInputError: when a file changed since it was checked.
    :raises GeminiTuningError: of the kind that counting fails with.
    """
    asking = _Asking(rules, count, lines)
    training, *validation = scans
    sample = asking.sample(training)
    factor = sum(tokens for _, tokens in sample) / max(1, sum(estimated for estimated, _ in sample)) if sample else 1.0
    suspects = asking.suspects(training, factor, findings)
    with_files, notes = asking.judge(training, suspects, factor, findings)
    for scan in validation if rules.tokens_per_example else ():
        notes += asking.judge(scan, asking.suspects(scan, factor, findings), factor, findings)[1]
    return _total(training, sample, suspects.unmeasured, with_files), notes


class _Suspects(NamedTuple):
    """Lines to count, and the estimated tokens of the examples with files that the estimate leaves out."""

    lines: array[int]
    unmeasured: Counter[int]


class _Answer(NamedTuple):
    """What was found of a wanted line; ``tokens``: None where they weren't asked for."""

    line: int
    document: dict[str, Any]
    example: Example
    tokens: int | None


class _Asking:
    def __init__(self, rules: Rules, count: Count, lines: Lines) -> None:
        self._rules = rules
        self._most = rules.tokens_per_example or math.inf
        self._count = count
        self._lines = lines

    def sample(self, scan: FileScan) -> list[tuple[int, int]]:
        """Return estimated and counted tokens of examples all over a file.

        Not of those with files to measure, nor of those so long that the service may refuse to count.
        """

        def ordinary(_: int, found: Example) -> bool:
            return not found.unmeasured and found.tokens * (1 - ERROR_BAND) <= self._most

        wanted = (scan.line_of(index) for index in _evenly(len(scan.prompts), SAMPLE))
        answers = self._answers(scan, wanted, ordinary)
        return [(one.example.tokens, one.tokens) for one in answers if one.tokens is not None]

    def suspects(self, scan: FileScan, factor: float, findings: Findings) -> _Suspects:
        """Return the examples about which the estimate, times the factor, leaves doubt; report those without any."""
        suspects, unmeasured = array("Q"), Counter[int]()
        upper, lower = factor * (1 + ERROR_BAND), factor * (1 - ERROR_BAND)
        if not scan.unmeasured and max(scan.tokens, default=0) * upper <= self._most:
            return _Suspects(suspects, unmeasured)
        shortest = self._most / upper * CHARACTERS_PER_TOKEN / _LONGEST_JSON if upper else math.inf  # bytes
        with self._lines(scan) as stream:
            for number, line in picked(stream, map(scan.line_of, range(len(scan.prompts)))):
                if len(line) < shortest and not _MAY_SHOW_FILES.search(line):
                    continue
                document, found = self._example(scan, line)
                unmeasured[found.tokens] += found.unmeasured
                if found.tokens * lower > self._most:
                    self._add_long(scan, number, document, round(found.tokens * factor), findings)
                elif found.unmeasured or found.tokens * upper > self._most:
                    suspects.append(number)
        return _Suspects(suspects, unmeasured)

    def judge(
        self, scan: FileScan, suspects: _Suspects, factor: float, findings: Findings
    ) -> tuple[list[int], list[str]]:
        """Count suspects, as many as may be; return the tokens of those with files to measure, and what to note."""
        asked = {suspects.lines[index] for index in _evenly(len(suspects.lines), MOST)}
        with_files = []
        for line, document, found, tokens in self._answers(scan, suspects.lines, lambda line, _: line in asked):
            if tokens is not None and found.unmeasured:
                with_files.append(tokens)
            length = round(found.tokens * factor) if tokens is None else tokens
            if length > self._most:
                self._add_long(scan, line, document, length, findings, counted=tokens is not None)
        if not asked or self._rules.tokens_per_example is None:
            return with_files, []
        number_, rest = plural(len(asked), "example"), len(suspects.lines) - len(asked)
        note = f"{scan.reference}: the service counted {number_} that may be over {self._most:,} tokens"
        return with_files, [f"{note}; {rest:,} more such examples are only estimated." if rest else f"{note}."]

    def _answers(
        self, scan: FileScan, wanted: Iterable[int], asks: Callable[[int, Example], bool]
    ) -> Iterator[_Answer]:
        """Yield the wanted lines in their order, but for those that aren't asked about: they needn't wait.

        :param wanted: line numbers from 1, ascending.
        """
        waiting: deque[tuple[int, dict[str, Any], Example, Future[int]]] = deque()

        def first() -> _Answer:
            line, document, found, answer = waiting.popleft()
            return _Answer(line, document, found, answer.result())

        with self._lines(scan) as stream:
            for number, line in picked(stream, wanted):
                document, found = self._example(scan, line)
                if not asks(number, found):
                    yield _Answer(number, document, found, None)
                    continue
                if len(waiting) == _AT_ONCE:
                    yield first()
                waiting.append((number, document, found, self._ask(document, f"{scan.reference}:{number}")))
            while waiting:
                yield first()

    def _ask(self, document: dict[str, Any], where: str) -> Future[int]:
        """Ask in a thread that nobody has to wait for: those of a pool would keep the program from ending."""
        answer = Future[int]()

        def run() -> None:
            try:
                with _advising():
                    answer.set_result(self._count(document, where))
            except BaseException as error:  # it is raised again where the answer is wanted
                answer.set_exception(error)

        Thread(target=run, name="token-count", daemon=True).start()
        return answer

    def _example(self, scan: FileScan, line: bytes) -> tuple[dict[str, Any], Example]:
        try:
            document = parse_fast(line.removesuffix(b"\n"))[0]
            return document, example(document, self._rules.media_types)
        except NOT_AN_EXAMPLE:
            raise UnusableInputError(f"{scan.reference}: changed while it was checked; check it again.") from None

    def _add_long(
        self,
        scan: FileScan,
        line: int,
        document: dict[str, Any],
        tokens: int,
        findings: Findings,
        *,
        counted: bool = False,
    ) -> None:
        fault = long_example(tokens, int(self._most), counted=counted)
        findings.add(Finding(file=scan.reference, line=line, **fault._asdict()))
        scan.dropped += "too-many-files" not in judge.codes(document, self._rules)  # else it is dropped already


@contextmanager
def _advising() -> Iterator[None]:
    """Let errors say how to do without what failed."""
    try:
        yield
    except GeminiTuningError as error:
        raise type(error)(f"{error} {_ADVICE}") from error


def _evenly(count: int, most: int) -> Iterable[int]:
    """Return so many indexes of a number of things, spread evenly, but never in step with an order of theirs."""
    if count <= most:
        return range(count)
    chance = Random(count)  # noqa: S311  # the same file, the same sample
    return (chance.randrange(place * count // most, (place + 1) * count // most) for place in range(most))


def _total(scan: FileScan, sample: list[tuple[int, int]], unmeasured: Counter[int], with_files: list[int]) -> Tokens:
    """Return the tokens of a file: scaled from the estimate, and for examples with files from the mean.

    :param unmeasured: the estimated tokens of examples with files to measure, of which nobody knows more than the text.
    :param with_files: the counted tokens of some of them.
    """
    tokens, variance = _scaled(sample, scan.tokens - unmeasured if with_files else scan.tokens)
    if with_files:
        more = _scaled([(1, counted) for counted in with_files], Counter({1: unmeasured.total()}))
        tokens, variance = tokens + more[0], variance + more[1]
    return Tokens(
        per_epoch=round(tokens),
        examples=len(scan.prompts),
        counted=len(sample) + len(with_files),
        error_band=2 * math.sqrt(variance) / tokens if tokens else 0.0,
        incomplete=0 if with_files else unmeasured.total(),
    )


def _scaled(drawn: list[tuple[int, int]], sizes: Counter[int]) -> tuple[float, float]:
    """Return the total of things in proportion to their sizes, and its variance, by some of them.

    As a ratio estimate whose error grows with the size: few large things that weren't drawn make it less certain.

    :param drawn: size and value of those.
    :param sizes: how many there are of each size.
    """
    size, value = sum(size for size, _ in drawn), float(sum(value for _, value in drawn))
    if len(drawn) == sizes.total():
        return value, 0.0
    whole = sum(size * count for size, count in sizes.items())
    ratio = value / size if size else 1.0
    if len(drawn) < 2:
        return ratio * whole, (ratio * whole * ERROR_BAND / 2) ** 2
    squares = sum(size**2 for size, _ in drawn)
    spread = sum((value - ratio * size) ** 2 for size, value in drawn) / squares * len(drawn) / (len(drawn) - 1)
    rest, rest_squares = whole - size, sum(size**2 * count for size, count in sizes.items()) - squares
    return ratio * whole, spread * (rest_squares + rest**2 * squares / size**2)
