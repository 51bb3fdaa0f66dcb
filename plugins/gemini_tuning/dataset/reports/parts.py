"""What the terminal, Markdown and HTML renderings of a report share: order, numbers, and text that is safe to show."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from gemini_tuning.dataset.codes import CODES
from gemini_tuning.dataset.reports.report import DatasetReport, Distribution, Estimate, Finding, plural
from gemini_tuning.tuning.models import ModelTable

FIGURES = ("min", "mean", "median", "p95", "max")


@dataclass(frozen=True)
class Group:
    """All findings of one code: how many there were, and the first of them."""

    code: str
    severity: str
    count: int
    listed: tuple[Finding, ...]

    @property
    def is_error(self) -> bool:
        """Whether the findings reject the dataset."""
        return self.severity == "error"

    @property
    def meaning(self) -> str:
        """What the table of codes says of it."""
        return CODES[self.code].meaning if self.code in CODES else ""

    @property
    def unlisted(self) -> int:
        """How many were counted only."""
        return max(0, self.count - len(self.listed))


class LimitUse(NamedTuple):
    """How much of one of the service's limits a dataset uses; all in the limit's own unit."""

    limit: str
    used: float
    allowed: float
    text: str


class Measure(NamedTuple):
    """One of the report's distributions, and what it counts."""

    name: str
    distribution: Distribution

    def figures(self) -> list[str]:
        """Return what FIGURES names, as text."""
        return [number(getattr(self.distribution, figure)) for figure in FIGURES]


def groups(report: DatasetReport) -> list[Group]:
    """Return the findings by code: errors before warnings, the most frequent code first, ties as they were met."""
    found = [*_groups("error", report.errors, report), *_groups("warning", report.warnings, report)]
    return sorted(found, key=lambda group: (group.severity, -group.count))


def _groups(severity: str, findings: Iterable[Finding], report: DatasetReport) -> Iterator[Group]:
    by_code: dict[str, list[Finding]] = {}
    for finding in findings:
        by_code.setdefault(finding.code, []).append(finding)
    for code, listed in by_code.items():
        yield Group(code, severity, max(len(listed), report.counts.by_code.get(code, 0)), tuple(listed))


def measures(report: DatasetReport) -> list[Measure]:
    """Return the distributions that the report has."""
    statistics = report.statistics
    if statistics is None:
        return []
    named = {
        "turns": statistics.turns,
        "characters": statistics.characters,
        "estimated tokens": statistics.estimated_tokens,
    }
    return [Measure(name, distribution) for name, distribution in named.items() if distribution]


def estimate_sentences(report: DatasetReport) -> list[str]:
    """Return what a job would cost, and what that figure rests on; empty where there is nothing to tune on."""
    if report.estimate is None or not report.train.examples:
        return []
    sentences = [f"Estimated cost: {report.estimate}", estimate_rule(report.estimate)]
    if not report.accepted:
        verb = "is" if report.train.examples == 1 else "are"
        examples = plural(report.train.examples, "training example")
        sentences.append(f"Counted {verb} only the {examples} without errors.")
    return sentences


def estimate_rule(estimate: Estimate) -> str:
    """Return what an estimate rests on."""
    return f"Billed are the training tokens times the epochs; {estimate.basis}."


def limit_uses(report: DatasetReport, base_model: str, models: ModelTable) -> list[LimitUse]:
    """Return the limits of a base model beside what the dataset has of each; empty for a model without known limits."""
    info = models.find(base_model)
    if info is None or info.limits is None:
        return []
    limits, train = info.limits, report.train

    def use(name: str, used: float, allowed: int) -> LimitUse:
        return LimitUse(name, used, allowed, f"{number(used)} of {number(allowed)}")

    training_bytes = f"{size(train.bytes)} of {size(limits.training_bytes)}"
    uses = [
        LimitUse("size of the training file", train.bytes, limits.training_bytes, training_bytes),
        use("training examples", train.examples, limits.training_examples),
    ]
    if report.validation:
        uses.append(use("validation examples", report.validation.examples, limits.validation_examples))
    if report.statistics and report.statistics.estimated_tokens:
        longest = report.statistics.estimated_tokens.max
        uses.append(use("estimated tokens of the longest example", longest, limits.tokens_per_example))
    return uses


def visible(text: str, longest: int | None = None) -> str:
    r"""Return text in which every control, bidirectional or broken character is written as an escape such as ``\x1b``.

    Keys and file names come from strangers: printed raw, they could move the cursor, break a line or hide what follows.

    :param longest: cut to this many characters.
    """
    if longest is not None and len(text) > longest:
        text = text[: longest - 1] + "…"
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def number(value: float) -> str:
    """Return a count or a mean with at most one decimal."""
    return f"{value:,.1f}".removesuffix(".0")


def size(count: int) -> str:
    """Return bytes in decimal units, as the service's limits are written."""
    value = float(count)
    for unit in ("B", "kB", "MB"):
        if value < 999.5:
            return f"{value:.{0 if unit == 'B' or value >= 99.5 else 1}f} {unit}"
        value /= 1000
    return f"{value:,.1f} GB"
