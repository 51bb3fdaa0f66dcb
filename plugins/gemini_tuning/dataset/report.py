"""What a check of a dataset found."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Sequence

from gemini_tuning.values import Value

LISTED_PER_CODE = 20


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
    """

    path: str
    bytes: int
    examples: int
    sha256: str
    crc32c: str
    generation: int | None = None


class Distribution(Value):
    """Five numbers about a count per example."""

    min: float
    mean: float
    median: float
    p95: float
    max: float

    @classmethod
    def of(cls, values: Sequence[int]) -> Distribution | None:
        """Return the distribution of a non-empty sequence, or None."""
        if not values:
            return None
        ordered = sorted(values)
        last = len(ordered) - 1
        return cls(
            min=ordered[0],
            mean=round(sum(ordered) / len(ordered), 2),
            median=ordered[last // 2],
            p95=ordered[round(last * 0.95)],
            max=ordered[last],
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
    estimated from characters; ``cost_usd`` is None where no price is known.
    """

    tokens_per_epoch: int
    epochs: int
    epochs_assumed: bool
    cost_usd: float | None
    price_as_of: dt.date | None
    price_verified: bool | None

    def __str__(self) -> str:
        """Return one sentence."""
        assumed = " (assumed: the number is left to the service)" if self.epochs_assumed else ""
        tokens = f"about {self.tokens_per_epoch:,} tokens × {self.epochs} epochs{assumed}"
        if self.cost_usd is None:
            return f"{tokens}; no price is known for this model"
        unverified = "" if self.price_verified else ", unverified"
        return f"{tokens} ≈ ${self.cost_usd:.2f} (price of {self.price_as_of}{unverified})"


class Counts(Value):
    """How many findings there were, listed or not."""

    errors: int
    warnings: int
    by_code: dict[str, int]


class DatasetReport(Value):
    """The verdict on a training file and, where given, its validation file."""

    accepted: bool
    files: tuple[DatasetFile, ...]
    errors: tuple[Finding, ...]
    warnings: tuple[Finding, ...]
    counts: Counts
    truncated: bool
    statistics: Statistics | None
    estimate: Estimate | None

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
        examples = " and ".join(f"{file.path} ({file.examples:,} examples)" for file in self.files)
        verdict = "accepted" if self.accepted else "rejected"
        errors, warnings = self.counts.errors, self.counts.warnings
        return f"Dataset {verdict}: {examples}; {_count(errors, 'error')}, {_count(warnings, 'warning')}"


class Findings:
    """Collects findings: all are counted, the first few of each code are listed."""

    def __init__(self) -> None:
        self._listed: list[Finding] = []
        self._counts: Counter[str] = Counter()

    def add(self, finding: Finding) -> None:
        """Count a finding, and keep it while its code has room."""
        self._counts[finding.code] += 1
        if self._counts[finding.code] <= LISTED_PER_CODE:
            self._listed.append(finding)

    def listed(self) -> tuple[Finding, ...]:
        """Return the kept findings in the order of file and line."""
        return tuple(self._listed)

    @property
    def total(self) -> int:
        """How many were added."""
        return self._counts.total()

    @property
    def by_code(self) -> dict[str, int]:
        """How many were added, by code."""
        return dict(self._counts)

    @property
    def truncated(self) -> bool:
        """Whether some were counted but not kept."""
        return self.total > len(self._listed)


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
