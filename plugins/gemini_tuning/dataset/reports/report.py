"""What a check of a dataset found."""

from __future__ import annotations

import bisect
import datetime as dt
import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

from gemini_tuning.dataset.codes import LISTED_PER_CODE, Severity
from gemini_tuning.values import Value

MOST_BUCKETS = 20
MOST_SKIPPED_LINES = 1000
ERROR_BAND = 1 / 3  # of tokens that are estimated from characters, either way


class Finding(Value):
    """One fault (or warning) at one place. Quotes no content of the dataset beyond keys and roles."""

    code: str
    file: str
    line: int | None = None
    column: int | None = None
    path: str | None = None
    message: str
    hint: str

    def __str__(self) -> str:
        """Return ``file:line:column: message at path. hint [code]``."""
        place = ":".join(str(part) for part in (self.file, self.line, self.column) if part is not None)
        at = f" at {self.path}" if self.path else ""
        return f"{place}: {self.message}{at}. {self.hint} [{self.code}]"


class DatasetFile(Value):
    """One file as it was read: the identity of its bytes.

    ``crc32c`` is base64 of the big-endian checksum, as Cloud Storage prints it; ``generation`` is set for ``gs://``.
    ``skipped_lines`` are the lines, from 1, that are no examples; None = more than are listed.
    """

    path: str
    bytes: int
    examples: int
    sha256: str
    crc32c: str
    generation: int | None = None
    skipped_lines: tuple[int, ...] | None = ()


class Bucket(Value):
    """How many examples have a count from ``left`` to ``right``, both included."""

    left: int
    right: int
    count: int


class Distribution(Value):
    """Five numbers about a count per example, and how the examples spread over it."""

    min: float
    mean: float
    median: float
    p95: float
    max: float
    buckets: tuple[Bucket, ...] = ()

    @classmethod
    def of(cls, counts: Mapping[int, int]) -> Distribution | None:
        """Return the distribution of values that were counted, or None when there are none."""
        values = sorted(counts)
        if not values:
            return None
        upto = list(itertools.accumulate(counts[value] for value in values))
        last = upto[-1] - 1

        def at(rank: int) -> int:
            return values[bisect.bisect_right(upto, rank)]

        return cls(
            min=values[0],
            mean=round(sum(value * counts[value] for value in values) / upto[-1], 2),
            median=at(last // 2),
            p95=at(round(last * 0.95)),
            max=values[-1],
            buckets=_buckets(counts, at(round(last * 0.99))),
        )


class Statistics(Value):
    """Per training example: turns, characters of text, estimated tokens; over all: turns by role."""

    turns: Distribution | None
    characters: Distribution | None
    estimated_tokens: Distribution | None
    roles: dict[str, int]


class Estimate(Value):
    """What one job on this dataset will be billed, as far as it can be known beforehand.

    Billed are the tokens of the training dataset times the epochs ("Supervised fine-tuning", pricing). Tokens are
    estimated from characters, or scaled from the examples that the service counted; ``cost_usd`` is None where no price
    is known.

    ``examples_counted`` are those of the ``examples`` that the service counted, ``examples_incomplete`` those with
    files whose tokens are left out; ``error_band`` is the share by which the tokens may be wrong either way.
    """

    tokens_per_epoch: int
    examples: int = 0
    examples_counted: int = 0
    examples_incomplete: int = 0
    error_band: float = ERROR_BAND
    epochs: int
    epochs_assumed: bool
    cost_usd: float | None
    price_as_of: dt.date | None
    price_verified: bool | None

    def __str__(self) -> str:
        """Return one sentence."""
        assumed = " (assumed: the number is left to the service)" if self.epochs_assumed else ""
        about = "" if 0 < self.examples == self.examples_counted else "about "
        without = ", without those of files," if self.examples_incomplete else ""
        tokens = f"{about}{self.tokens_per_epoch:,} tokens{without} × {plural(self.epochs, 'epoch')}{assumed}"
        if self.cost_usd is None:
            return f"{tokens}; no price is known for this model"
        unverified = "" if self.price_verified else ", unverified"
        return f"{tokens} ≈ ${self.cost_usd:.2f} (price of {self.price_as_of}{unverified})"

    @property
    def basis(self) -> str:
        """How the tokens are known, and how well."""
        if not self.examples_counted:
            return "tokens are estimated from characters, four to one, good to about a third either way"
        if self.examples_counted == self.examples:
            return "tokens were counted by the service in every example"
        sample = f"a sample of {self.examples_counted:,} of {plural(self.examples, 'example')}"
        return f"tokens were counted by the service in {sample}, good to about {self.error_band:.1%} either way"


class Counts(Value):
    """How many findings there were, listed or not."""

    errors: int
    warnings: int
    by_code: dict[str, int]


class DatasetReport(Value):
    """The verdict on a training file and, where given, its validation file.

    ``notes`` say what was looked at only in part, or not at all.
    """

    accepted: bool
    files: tuple[DatasetFile, ...]
    errors: tuple[Finding, ...]
    warnings: tuple[Finding, ...]
    counts: Counts
    truncated: bool
    statistics: Statistics | None
    estimate: Estimate | None
    notes: tuple[str, ...] = ()

    @property
    def train(self) -> DatasetFile:
        """The training file."""
        return self.files[0]

    @property
    def validation(self) -> DatasetFile | None:
        """The validation file, if one was given."""
        return self.files[1] if len(self.files) > 1 else None

    def headline(self) -> str:
        """Return one sentence: the verdict with its counts."""
        examples = " and ".join(f"{file.path} ({plural(file.examples, 'example')})" for file in self.files)
        verdict = "accepted" if self.accepted else "rejected"
        errors, warnings = self.counts.errors, self.counts.warnings
        return f"Dataset {verdict}: {examples}; {plural(errors, 'error')}, {plural(warnings, 'warning')}"

    def within(self, size: int) -> DatasetReport:
        """Return the report with so few findings of each code that its JSON has at most ``size`` bytes, if it can.

        The counts stay.
        """
        kept, report = LISTED_PER_CODE, self
        while kept and len(report.model_dump_json()) > size:
            kept //= 2
            errors, warnings = _first(self.errors, kept), _first(self.warnings, kept)
            report = self.model_copy(update={"errors": errors, "warnings": warnings, "truncated": True})
        return report


class Findings:
    """Collects findings by their severity: all are counted, the first few of each code and file are listed.

    :param rejecting: is given every error that ``add`` is given, listed or not.
    """

    def __init__(self, severities: Mapping[str, Severity], rejecting: Callable[[Finding], None] | None = None) -> None:
        self._severities = severities
        self._rejecting = rejecting
        self._listed: list[Finding] = []
        self._room: Counter[tuple[str, str]] = Counter()
        self._counts: Counter[str] = Counter()

    def rejects(self, codes: Iterable[str]) -> bool:
        """Whether one of these codes rejects the dataset."""
        return any(self._severities[code] == "error" for code in codes)

    def add(self, finding: Finding) -> None:
        """Count a finding, and keep it while its code has room."""
        self.count(finding.code, 1)
        self.keep(finding)
        if self._rejecting is not None and self._severities[finding.code] == "error":
            self._rejecting(finding)

    def keep(self, finding: Finding) -> None:
        """Keep a finding that is counted elsewhere, while its code has room."""
        place = (finding.code, finding.file)
        if self._severities[finding.code] != "ignore" and self._room[place] < LISTED_PER_CODE:
            self._room[place] += 1
            self._listed.append(finding)

    def count(self, code: str, number: int) -> None:
        """Count findings that are kept elsewhere, or not at all."""
        if self._severities[code] != "ignore":
            self._counts[code] += number

    def listed(self, severity: Severity, files: Sequence[str]) -> tuple[Finding, ...]:
        """Return the kept findings of a severity, in the order of the files and their lines."""
        kept = [finding for finding in self._listed if self._severities[finding.code] == severity]
        return tuple(sorted(kept, key=lambda finding: (files.index(finding.file), finding.line or 0)))

    def total(self, severity: Severity) -> int:
        """How many of a severity there were."""
        return sum(number for code, number in self._counts.items() if self._severities[code] == severity)

    @property
    def by_code(self) -> dict[str, int]:
        """How many there were, by code."""
        return dict(self._counts)

    @property
    def truncated(self) -> bool:
        """Whether some were counted but not kept."""
        return self._counts.total() > len(self._listed)


def plural(count: int, noun: str) -> str:
    """Return the count with its noun."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _first(findings: Iterable[Finding], kept: int) -> tuple[Finding, ...]:
    room: Counter[str] = Counter()
    first = []
    for finding in findings:
        room[finding.code] += 1
        if room[finding.code] <= kept:
            first.append(finding)
    return tuple(first)


def _buckets(counts: Mapping[int, int], upper: int) -> tuple[Bucket, ...]:
    """Return equal buckets of a round width up to ``upper``; the last one also holds the few examples beyond it."""
    lowest, highest = min(counts), max(counts)
    widths = (digit * 10**power for power in itertools.count() for digit in (1, 2, 5))
    width = next(width for width in widths if upper // width - lowest // width < MOST_BUCKETS)
    first, last = lowest // width, upper // width
    tally: Counter[int] = Counter()
    for value, count in counts.items():
        tally[min(value // width, last)] += count
    rights = [*((place + 1) * width - 1 for place in range(first, last)), max((last + 1) * width - 1, highest)]
    return tuple(
        Bucket(left=place * width, right=right, count=tally[place])
        for place, right in zip(range(first, last + 1), rights, strict=True)
    )
