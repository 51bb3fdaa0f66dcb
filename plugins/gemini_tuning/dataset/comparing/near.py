"""Find prompts that are nearly the same: in training and validation both, and within training.

A validation prompt that training nearly contains makes the validation loss look better than it is. Prompts are
compared by the share of runs of three words that two of them have in common (Jaccard). MinHash sketches propose
pairs, and each proposed pair is read again and counted exactly, so that nothing false is reported; a pair at the
threshold is missed three times in a hundred, one well above it hardly ever. Prompts that are many and the same but for
numbers are told together, and of them only the first is compared with others.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

from gemini_tuning.dataset.comparing.numbers import Group, Said, groups
from gemini_tuning.dataset.comparing.shingles import AT_ONCE, FEWEST, LONGEST, SHARED_AT_LEAST, SHARED_BY, Shingler
from gemini_tuning.dataset.lines.examples import normalised
from gemini_tuning.dataset.reports.report import Finding

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Slots = NDArray[np.uint16]

THRESHOLD = 0.7  # one word changed in the middle of 17 is still found, as are two in 28
LOWEST_THRESHOLD = 0.5  # below it, sketches of this size miss too many pairs to be worth their time
KEPT = 2_000_000  # sketches of a file, at 36 bytes; digests of words, at 20, stay of all: half a group tells nothing
VERIFIED = 20_000  # pairs that are read again
SECONDS_PER_PROMPT, SECONDS_PER_BYTE = 4e-6, 25e-9  # on one core of 2024, with room to spare
LEARNING_PROMPTS, LEARNING_BYTES = 2_000, 1 << 22  # what templates are learned from
LEAST_LEARNING_PROMPTS = int(SHARED_AT_LEAST / SHARED_BY)  # of fewer the share that makes a template would be another

_PERMUTATIONS = 16
_SEED = 20
_SLACK = 0.3  # how far an estimate from 16 slots may lie below the truth
# Prompts become a candidate pair by agreeing in all slots of one band. No two bands share two slots: that finds
# 97 % of the pairs that are 70 % alike, and 99.6 % of those that are 80 % alike (simulated).
_BANDS = (
    *((0, 1, 2), (3, 4, 5), (6, 7, 8), (9, 10, 11), (12, 13, 14), (0, 3, 15)),
    *((1, 4, 6), (2, 5, 7), (8, 9, 12), (10, 13, 15), (0, 11, 14), (1, 3, 7)),
)
_PLACE_BITS = 24
_MOST_WAITING = 2_000  # prompts, however short
_NAMED = 3  # lines of a group

# The process that compared prompts first: its threads don't survive a fork, and a child would wait for them forever.
_first_used_in: int | None = None


class Pair(NamedTuple):
    """Two prompts nearly alike: a line, the earlier training line it resembles, and the share they have in common."""

    line: int
    training_line: int
    share: float
    leak: bool  # the line stands in the validation file; otherwise in training too


def usable() -> bool:
    """Whether prompts can be compared here: not in a process forked from one that did so before."""
    return _first_used_in in (None, os.getpid())


def fits_in_a_minute(examples: int, size: int) -> bool:
    """Whether comparing files of so many examples and bytes in all takes less than a minute."""
    return examples * SECONDS_PER_PROMPT + size * SECONDS_PER_BYTE < 60


def learned_from(prompts: array[int], size: int) -> list[int]:
    """Return the places of the prompts to learn templates from: the same prompts in whatever order they stand.

    :param prompts: digests of all; by chance as they are, the smallest are a sample.
    :param size: bytes of the lines of all.
    """
    import numpy as np

    most = min(LEARNING_PROMPTS, max(LEARNING_BYTES * len(prompts) // max(size, 1), LEAST_LEARNING_PROMPTS))
    _, first = np.unique(np.frombuffer(prompts, np.uint64), return_index=True)
    found: list[int] = np.sort(first[:most]).tolist()
    return found


class NearDuplicates:
    """Learns templates, takes the prompts of both files, then tells which of them are nearly the same.

    :param train: how findings name the training file; likewise ``validation``, None where there is none.
    :param threshold: the share from which prompts count as nearly the same, from 0.5 to 1.
    :raises ValueError: for another threshold.
    """

    def __init__(self, train: str, validation: str | None = None, *, threshold: float = THRESHOLD) -> None:
        if not LOWEST_THRESHOLD <= threshold <= 1:
            raise ValueError(f"threshold is {threshold}; it goes from {LOWEST_THRESHOLD} to 1")
        self._names = (train, validation)
        self._threshold = threshold
        self._shingler = Shingler()
        self._files = (_Sketches(self._shingler, KEPT), _Sketches(self._shingler, KEPT))

    def learn(self, prompts: Iterable[str]) -> None:
        """Learn from different training prompts, before any is added, which phrases belong to a template."""
        self._shingler.learn(prompt[:LONGEST] for prompt in prompts)

    def add_training(self, line: int, prompt: str) -> None:
        """Take one training prompt: all its user turns, as plain text."""
        self._files[0].add(line, prompt)

    def add_validation(self, line: int, prompt: str) -> None:
        """Take one validation prompt."""
        self._files[1].add(line, prompt)

    @property
    def sampled(self) -> tuple[int, int] | None:
        """Of how many prompts how many were compared, where it wasn't all of them."""
        looked_at, of = (sum(counts) for counts in zip(*(file.looked_at for file in self._files), strict=True))
        return (looked_at, of) if looked_at < of else None

    @cached_property
    def templated(self) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
        """The lines, of training and of validation, of prompts that have words enough, but share them with many."""
        import numpy as np

        told = self._groups
        files = self._files
        return (
            np.setdiff1d(files[0].templated, _joined(group.all_training for group in told)),
            np.setdiff1d(files[1].templated, _joined(group.all_validation for group in told)),
        )

    @property
    def unverified(self) -> tuple[int, int]:
        """How many pairs were proposed, but not read again for want of time: within training, and leaks."""
        rest = self._proposed[VERIFIED:]
        leaks = int((rest[:, 0] >= self._files[0].rows).sum())
        return len(rest) - leaks, leaks

    def wanted(self) -> tuple[set[int], set[int]]:
        """Return the lines of training and of validation that ``pairs`` reads again, for who must find them first."""
        train, other = self._files
        places = {place for pair in self._proposed[:VERIFIED].tolist() for place in pair}
        own = {place for place in places if place < train.rows}
        return {int(train.lines[place]) for place in own}, {
            int(other.lines[place - train.rows]) for place in places - own
        }

    def findings(self, text_of: Callable[[str, int], str]) -> Iterator[Finding]:
        """Yield a finding for each group of prompts that are the same but for numbers, then for each pair."""
        for group in self._groups:
            yield from self._group_findings(group)
        for pair in self.pairs(text_of):
            yield self._finding(pair)

    def pairs(self, text_of: Callable[[str, int], str]) -> Iterator[Pair]:
        """Yield each validation line that resembles a training line, then each training line that does so.

        Prompts that are equal once normalised are left out: they are duplicates proper. No prompt can be added from
        here on.

        :param text_of: reads a prompt again: file as named above, line number.
        """
        train, other = self._files
        for place, twin in self._proposed[:VERIFIED].tolist():
            leak = place >= train.rows
            line = int(other.lines[place - train.rows] if leak else train.lines[place])
            training_line = int(train.lines[twin])
            share = self._share(text_of(self._name(leak), line), text_of(self._names[0], training_line))
            if share >= self._threshold:
                yield Pair(line, training_line, share, leak)

    @cached_property
    def _groups(self) -> list[Group]:
        """The groups; from here on only the first prompt of each is compared."""
        train, other = self._files
        found = groups(train.said, other.said)
        if found:
            train.leave_out(_joined(group.all_training[1:] for group in found))
            other.leave_out(_joined(group.all_validation for group in found))
        return found

    @cached_property
    def _proposed(self) -> NDArray[np.uint32]:
        _ = self._groups
        return _candidates(*self._files, self._threshold)

    def _share(self, prompt: str, other: str) -> float:
        if normalised(prompt) == normalised(other):
            return 0
        one, two = self._shingler.exact(prompt[:LONGEST]), self._shingler.exact(other[:LONGEST])
        return len(one & two) / len(one | two) if one and two else 0

    def _finding(self, pair: Pair) -> Finding:
        looked_at = "looked at {:,} of {:,} prompts".format(*self.sampled) if self.sampled else ""
        detail = "; ".join(filter(None, (f"reported from {self._threshold:.0%} on", looked_at)))
        return Finding(
            code="near-duplicate-leak" if pair.leak else "near-duplicate",
            file=self._name(pair.leak),
            line=pair.line,
            message=f"the prompt has {int(pair.share * 100)}% of its three-word phrases in common with that of "
            f"training line {pair.training_line} ({detail})",
            hint="Keep it in one of the two files." if pair.leak else "Keep one, unless the variation is meant.",
        )

    def _group_findings(self, group: Group) -> Iterator[Finding]:
        first = int(group.training[0])
        if len(group.training) > 1:
            yield Finding(
                code="near-duplicate",
                file=self._name(False),
                line=int(group.training[1]),
                message=f"{len(group.training):,} prompts are the same but for numbers: {_listed(group.training)}",
                hint="Keep a few, unless the numbers are what is asked about.",
            )
        if len(group.validation):
            several = f"; so are {len(group.validation):,} here: {_listed(group.validation)}"
            yield Finding(
                code="near-duplicate-leak",
                file=self._name(True),
                line=int(group.validation[0]),
                message=f"the prompt is that of training line {first} but for numbers"
                + (several if len(group.validation) > 1 else ""),
                hint="Keep such prompts in one of the two files, unless the numbers are what is asked about.",
            )

    def _name(self, validation: bool) -> str:
        return (self._names[1] or "validation") if validation else self._names[0]


def _joined(lines: Iterable[NDArray[np.uint32]]) -> NDArray[np.uint32]:
    import numpy as np

    return np.concatenate([np.zeros(0, np.uint32), *lines])


def _listed(lines: NDArray[np.uint32]) -> str:
    shown = f"lines {', '.join(str(line) for line in lines[:_NAMED])}"
    return shown if len(lines) <= _NAMED else f"{shown} and {len(lines) - _NAMED:,} more"


class _Sketches:
    """What is kept of one file's prompts: 16 slots of 16 bits and the line number each, and digests of their words."""

    def __init__(self, shingler: Shingler, kept: int) -> None:
        self._shingler = shingler
        self._kept = kept
        self._waiting: list[str] = []
        self._waiting_lines: list[int] = []
        self._characters = 0
        self._every = 1
        self._rows = 0
        self._compared = 0
        self._left_out = 0
        self._said = Said()
        self.templated = array("I")

    def add(self, line: int, prompt: str) -> None:
        self._waiting.append(prompt[:LONGEST])
        self._waiting_lines.append(line)
        self._characters += len(prompt)
        if self._characters >= AT_ONCE or len(self._waiting) >= _MOST_WAITING:
            self._sketch()

    @property
    def rows(self) -> int:
        self._sketch()
        return self._rows

    @property
    def looked_at(self) -> tuple[int, int]:
        """How many of the prompts long enough to be compared are kept."""
        return self.rows + self._left_out, self._compared

    @property
    def said(self) -> Said:
        self._sketch()
        return self._said

    def leave_out(self, lines: NDArray[np.uint32]) -> None:
        """Forget the sketches of these lines."""
        import numpy as np

        before = self.rows
        self._stay(~np.isin(self.lines, lines))
        self._left_out += before - self._rows

    @property
    def slots(self) -> Slots:
        return self._store[0][: self.rows]

    @property
    def lines(self) -> NDArray[np.uint32]:
        return self._store[1][: self.rows]

    @cached_property
    def _store(self) -> tuple[Slots, NDArray[np.uint32]]:
        """Room for all that may come; memory is taken only as it is filled."""
        import numpy as np

        return np.empty((self._kept, _PERMUTATIONS), np.uint16), np.empty(self._kept, np.uint32)

    def _sketch(self) -> None:
        if self._waiting:
            self._keep(self._waiting, self._waiting_lines)
            self._waiting, self._waiting_lines, self._characters = [], [], 0

    def _keep(self, prompts: Sequence[str], line_numbers: Sequence[int]) -> None:
        global _first_used_in
        import numpy as np
        from rensa import RMinHash  # type: ignore[import-untyped]

        _first_used_in = os.getpid()
        batch = self._shingler.batch(prompts)
        matrix = RMinHash.digest_matrix_from_flat_token_hashes(
            batch.hashes, batch.offsets.astype(np.uint64), num_perm=_PERMUTATIONS, seed=_SEED
        )
        flat = np.fromiter(chain.from_iterable(matrix.to_rows()), np.uint32, len(prompts) * _PERMUTATIONS)
        long_enough = np.diff(batch.offsets) >= FEWEST
        slots = flat.astype(np.uint16).reshape(-1, _PERMUTATIONS)[long_enough]
        lines = np.array(line_numbers, np.uint32)
        self._said.add(lines, batch)
        self._compared += len(slots)
        self.templated.frombytes(lines[~long_enough & (batch.counts >= FEWEST)].tobytes())
        self._append(slots, lines[long_enough])

    def _append(self, slots: Slots, lines: NDArray[np.uint32]) -> None:
        """Keep rows; when they become too many, keep those of every second sketch.

        Chosen by the sketch, since prompts that are alike then mostly stay or go together.
        """
        stored_slots, stored_lines = self._store
        while True:
            chosen = slots[:, 0] % self._every == 0
            slots, lines = slots[chosen], lines[chosen]
            if self._rows + len(slots) <= self._kept:
                break
            self._every *= 2
            self._stay(stored_slots[: self._rows, 0] % self._every == 0)
        stored_slots[self._rows : self._rows + len(slots)] = slots
        stored_lines[self._rows : self._rows + len(slots)] = lines
        self._rows += len(slots)

    def _stay(self, chosen: NDArray[np.bool_]) -> None:
        rows = int(chosen.sum())
        for stored in self._store:
            stored[:rows] = stored[: self._rows][chosen]
        self._rows = rows


def _candidates(train: _Sketches, other: _Sketches, threshold: float) -> NDArray[np.uint32]:
    """Return places of rows (training first, then validation) with the training row each resembles most.

    Each row is compared with the first of its band, so the time stays linear however many copies there are.
    """
    import numpy as np

    edge = train.rows
    total = edge + other.rows
    nearest = np.zeros(total, np.uint32)
    agreement = np.zeros(total, np.uint8)
    for band in _BANDS:
        keys = np.concatenate([_keys(train.slots, band), _keys(other.slots, band)])
        keys = (keys >> np.uint64(_PLACE_BITS) << np.uint64(_PLACE_BITS)) | np.arange(total, dtype=np.uint64)
        keys.sort()
        places = (keys & np.uint64((1 << _PLACE_BITS) - 1)).astype(np.uint32)
        keys >>= np.uint64(_PLACE_BITS)
        first = np.ones(total, bool)
        first[1:] = keys[1:] != keys[:-1]
        heads = places[np.maximum.accumulate(np.where(first, np.arange(total), 0))]
        paired = ~first & (heads < edge)
        for start, slots in ((0, train.slots), (edge, other.slots)):
            here = paired & (places >= start) & (places < start + len(slots))
            members, ahead = places[here], heads[here]
            for cut in range(0, len(members), 1 << 16):
                some, twins = members[cut : cut + (1 << 16)], ahead[cut : cut + (1 << 16)]
                equal = (slots[some - start] == train.slots[twins]).sum(axis=1, dtype=np.uint8)
                better = equal > agreement[some]
                agreement[some[better]] = equal[better]
                nearest[some[better]] = twins[better]
    found = np.flatnonzero(agreement >= (threshold - _SLACK) * _PERMUTATIONS)
    # leaks first; then, as time may run out, those that hardly can be plain duplicates
    order = np.lexsort((found, agreement[found] == _PERMUTATIONS, found < edge))
    return np.stack((found, nearest[found]), axis=1)[order].astype(np.uint32)


def _keys(slots: Slots, band: tuple[int, ...]) -> NDArray[np.uint64]:
    import numpy as np

    keys = np.zeros(len(slots), np.uint64)
    for slot in band:
        keys = (keys ^ slots[:, slot]) * np.uint64(0x9E3779B97F4A7C15)
        keys ^= keys >> np.uint64(32)
    return keys
