"""Find prompts that are the same but for numbers, where they are many.

What many prompts share counts as their template, and what is left of such prompts is a number or two: too little to be
compared by phrases. So the commonest way to write one prompt a thousand times over is looked for by itself.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from gemini_tuning.dataset.comparing.shingles import SHARED_AT_LEAST, Batch

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MANY = SHARED_AT_LEAST  # of no more, the phrases stay, and they are compared as any other prompts


@dataclass
class Said:
    """Of each prompt with words enough besides numbers the line, and digests: of all words, of those without digits."""

    lines: array[int] = field(default_factory=lambda: array("I"))
    words: array[int] = field(default_factory=lambda: array("Q"))
    numberless: array[int] = field(default_factory=lambda: array("Q"))

    def add(self, lines: NDArray[np.uint32], batch: Batch) -> None:
        """Add prompts."""
        worded = batch.numberless != 0
        self.lines.frombytes(lines[worded].tobytes())
        self.words.frombytes(batch.words[worded].tobytes())
        self.numberless.frombytes(batch.numberless[worded].tobytes())


class Group(NamedTuple):
    """Lines of prompts that are the same but for numbers, ascending.

    ``training`` and ``validation`` hold each prompt once, those of validation only if training doesn't have them.
    """

    training: NDArray[np.uint32]
    validation: NDArray[np.uint32]
    all_training: NDArray[np.uint32]
    all_validation: NDArray[np.uint32]


def groups(train: Said, validation: Said) -> list[Group]:
    """Return the groups of more than ``MANY`` prompts with some in training, the largest first."""
    return sorted(_groups(train, validation), key=lambda group: -len(group.training) - len(group.validation))


def _groups(train: Said, validation: Said) -> Iterator[Group]:
    import numpy as np

    edge = len(train.lines)
    keys = np.concatenate([np.frombuffer(said.numberless, np.uint64) for said in (train, validation)])
    ordered = np.sort(keys)
    common = np.unique(ordered[MANY:][ordered[MANY:] == ordered[:-MANY]])
    places = np.flatnonzero(np.isin(keys, common))
    if not len(places):
        return
    words = np.concatenate([np.frombuffer(said.words, np.uint64) for said in (train, validation)])
    lines = np.concatenate([np.frombuffer(said.lines, np.uint32) for said in (train, validation)])
    places = places[np.lexsort((words[places], keys[places]))]  # stable: the first of equal prompts stays the first
    keys, words = keys[places], words[places]
    starts = np.flatnonzero(np.concatenate(([True], keys[1:] != keys[:-1])))
    once = np.concatenate(([True], (keys[1:] != keys[:-1]) | (words[1:] != words[:-1])))
    for start, end in zip(starts, [*starts[1:], len(keys)], strict=True):
        some = np.sort(places[start:end])
        prompts = np.sort(places[start:end][once[start:end]])
        if len(prompts) > MANY and prompts[0] < edge:
            yield Group(
                training=lines[prompts[prompts < edge]],
                validation=lines[prompts[prompts >= edge]],
                all_training=lines[some[some < edge]],
                all_validation=lines[some[some >= edge]],
            )
