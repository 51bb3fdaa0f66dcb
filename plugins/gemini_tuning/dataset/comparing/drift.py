"""Tell whether a validation file looks like its training file: lengths of prompts and answers, turns, labels.

A validation loss says something about training only if both are of the same kind. A difference is reported when it is
both larger than chance can make it and large enough to matter. Nothing but histograms is kept of a file.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import accumulate

from gemini_tuning.dataset.codes import Fault

CHANCE = 0.001  # of reporting one difference between two random parts of the same data
LENGTH_DISTANCE = 0.2  # smaller ones are not worth a person's time, however certain
LABEL_DISTANCE = 0.15
MOST_LABELS = 50  # with more different answers it is no classification
EXAMPLES_PER_LABEL = 10  # and neither with fewer training examples for each, on average
LONGEST_LABEL = 200  # characters
SHOWN = 40  # characters of a label

_KEPT_LABELS = 4 * MOST_LABELS
_OTHER_SHARE = 0.01
_EXACT_BITS = 7
_NAMED = 3


@dataclass
class Profile:
    """The histograms of one file.

    Lengths from 128 on are rounded down by less than a hundredth. ``labels`` counts answers as long as there are few
    different ones; ``other`` counts the answers that were too long for it, or came too late.
    """

    examples: int = 0
    prompts: Counter[int] = field(default_factory=Counter)
    answers: Counter[int] = field(default_factory=Counter)
    turns: Counter[int] = field(default_factory=Counter)
    labels: Counter[str] = field(default_factory=Counter)
    other: int = 0

    def add(self, prompt_characters: int, answer: str, turns: int) -> None:
        """Count one example."""
        self.examples += 1
        self.prompts[_rounded(prompt_characters)] += 1
        self.answers[_rounded(len(answer))] += 1
        self.turns[turns] += 1
        label = answer.strip() if len(answer) <= LONGEST_LABEL else None
        if label is not None and (label in self.labels or len(self.labels) < _KEPT_LABELS):
            self.labels[label] += 1
        else:
            self.other += 1

    @property
    def classifies(self) -> bool:
        """Whether the answers are labels: few different ones, many times each."""
        few = len(self.labels) <= min(MOST_LABELS, self.examples / EXAMPLES_PER_LABEL)
        return few and bool(self.labels) and self.other <= _OTHER_SHARE * self.examples


def differences(train: Profile, validation: Profile) -> Iterator[Fault]:
    """Yield one fault for each thing in which the two files differ strongly; they are about the validation file.

    Where the answers are labels, those that differ most are named, for without that nobody can act on it: this is
    content of the dataset, at most three texts of 40 characters, and only of answers that repeat.
    """
    if not train.examples or not validation.examples:
        return
    yield from _longer(train.prompts, validation.prompts, "prompts", "characters")
    yield from _longer(train.turns, validation.turns, "examples", "turns")
    if train.classifies:
        yield from _unseen_labels(train, validation)
        yield from _other_shares(train, validation)
    else:
        yield from _longer(train.answers, validation.answers, "answers", "characters")


def _longer(train: Counter[int], validation: Counter[int], what: str, unit: str) -> Iterator[Fault]:
    """Compare two histograms by the largest gap between their cumulative shares (Kolmogorov-Smirnov).

    By chance alone that gap exceeds ``sqrt(ln(2 / chance) / 2 × (1/n + 1/m))`` no more often than ``CHANCE``; for
    whole numbers, as here, even less often.
    """
    sizes = train.total(), validation.total()
    lengths = sorted(train.keys() | validation.keys())
    shares = [
        [count / size for count in accumulate(histogram[length] for length in lengths)]
        for histogram, size in zip((train, validation), sizes, strict=True)
    ]
    gaps = [there - here for there, here in zip(*shares, strict=True)]
    place = max(range(len(gaps)), key=lambda index: abs(gaps[index]))
    distance = abs(gaps[place])
    if distance <= max(LENGTH_DISTANCE, math.sqrt(math.log(2 / CHANCE) / 2 * _spread(*sizes))):
        return
    word = "longer" if gaps[place] > 0 else "shorter"
    yield Fault(
        "length-drift",
        f"the {what} are {word} than in training: {shares[1][place]:.0%} of them have at most {lengths[place]:,} "
        f"{unit}, {shares[0][place]:.0%} in training (medians {_median(validation):,} and {_median(train):,}; "
        f"distance {distance:.2f})",
        "Draw both files at random from the same examples, unless the difference is meant.",
    )


def _unseen_labels(train: Profile, validation: Profile) -> Iterator[Fault]:
    unseen = Counter({label: count for label, count in validation.labels.items() if label not in train.labels})
    if not unseen:
        return
    named = ", ".join(f"{_quoted(label)} ({count:,})" for label, count in unseen.most_common(_NAMED))
    more = f", and {len(unseen) - _NAMED} more" if len(unseen) > _NAMED else ""
    answers = (
        "1 answer of validation never stands"
        if len(unseen) == 1
        else (f"{len(unseen)} different answers of validation never stand")
    )
    yield Fault(
        "unseen-label",
        f"{answers} in training, whose answers are {len(train.labels)} labels: {named}{more}",
        "Correct the spelling, or add training examples with these labels: what was never shown is not learned.",
    )


def _other_shares(train: Profile, validation: Profile) -> Iterator[Fault]:
    """Compare the shares of labels by the part of the answers that would have to change (total variation).

    By chance that is at most its expectation, itself at most half the sum of the standard deviations, plus what
    McDiarmid's inequality allows: ``sqrt(ln(1 / chance) / 2 × (1/n + 1/m))``.
    """
    sizes = train.examples, validation.examples
    spread = _spread(*sizes)
    counts = [_with_others(profile) for profile in (train, validation)]
    names = [label for label in counts[0].keys() | counts[1].keys() if counts[0][label] + counts[1][label]]
    pooled = [(counts[0][name] + counts[1][name]) / sum(sizes) for name in names]
    expected = sum(math.sqrt(share * (1 - share) * spread) for share in pooled) / 2
    moved = {name: counts[1][name] / sizes[1] - counts[0][name] / sizes[0] for name in names}
    distance = sum(map(abs, moved.values())) / 2
    if distance <= max(LABEL_DISTANCE, expected + math.sqrt(math.log(1 / CHANCE) / 2 * spread)):
        return
    visible = [name for name in names if abs(moved[name]) >= 0.01]
    most = sorted(visible, key=lambda name: (-abs(moved[name]), name or ""))[:_NAMED]
    shown = "; ".join(
        f"{_quoted(name)} is {counts[1][name] / sizes[1]:.0%}, in training {counts[0][name] / sizes[0]:.0%}"
        for name in most
    )
    yield Fault(
        "label-drift",
        f"the labels have other shares than in training: {shown} (distance {distance:.2f})",
        "Draw both files at random from the same examples, label by label, unless the difference is meant.",
    )


def _with_others(profile: Profile) -> Counter[str | None]:
    counts: Counter[str | None] = Counter({None: profile.other})
    counts.update(profile.labels)
    return counts


def _spread(one: int, other: int) -> float:
    return 1 / one + 1 / other


def _median(histogram: Counter[int]) -> int:
    half = (histogram.total() + 1) // 2
    lengths = sorted(histogram)
    upto = accumulate(histogram[length] for length in lengths)
    return next(length for length, count in zip(lengths, upto, strict=True) if count >= half)


def _quoted(label: str | None) -> str:
    if label is None:
        return "any other answer"
    return repr(label if len(label) <= SHOWN else label[: SHOWN - 1] + "…")


@lru_cache(maxsize=1 << 12)
def _rounded(length: int) -> int:
    shift = max(length.bit_length() - _EXACT_BITS, 0)
    return length >> shift << shift
