"""What is learned of a dataset: its model turns or, where there are too many, a random choice of them.

Examples are offered one at a time and only what was chosen is kept, so a dataset of any size can be read.
"""

from __future__ import annotations

import functools
import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from local_cloud.vertex.learner.conversation import Context, context_of, is_model, text_of_content
from local_cloud.vertex.learner.encoding import TARGET_TOKENS

TRAINING_TURNS = 1_000
"""Model turns of a dataset that are learned from."""
TRAINING_BYTES = 300_000
"""Bytes of those answers altogether, as far as they are learned; in every script a few make a token."""
EPOCH_BYTES = 6_000_000
"""The same, times the epochs: what bounds the time that training takes."""
CONTEXT_CHARACTERS = 2_000_000
"""Characters of the contexts altogether."""
VALIDATION_TURNS = 100
_LEARNED_BYTES = 4 * TARGET_TOKENS
_KEPT_CHARACTERS = 50 * TARGET_TOKENS
"""However long the words: an answer cut here still has more tokens than are learned of it."""


@dataclass(frozen=True)
class Turn:
    """A model turn to learn, with the context that it answers to."""

    context: Context
    answer: str
    rejected: str | None = None
    """Preference tuning: the answer that was thought worse."""

    @property
    def answers(self) -> tuple[str, ...]:
        """The answer and, where there is one, the rejected one."""
        return (self.answer,) if self.rejected is None else (self.answer, self.rejected)


Find = Callable[[Any], Iterator[Callable[[], Turn]]]
"""Finds what can be learned of a dataset row; a turn is made when it is called for, as most never are."""


def answers_of(row: Any) -> Iterator[Callable[[], Turn]]:
    """Supervised tuning: each model turn with text. Rows of another shape yield nothing."""
    contents = _contents(row)
    for number, content in enumerate(contents):
        if number and is_model(content) and (text := text_of_content(content)).strip():
            yield functools.partial(_turn, contents, number, row.get("systemInstruction"), text)


def preferences_of(row: Any) -> Iterator[Callable[[], Turn]]:
    """Preference tuning: the completion of score 1, with the other one as the rejected."""
    contents = _contents(row)
    texts = {item["score"]: text_of_content(item["completion"]) for item in row["completions"]}
    if contents and texts[1].strip():
        yield functools.partial(_turn, contents, len(contents), row.get("systemInstruction"), texts[1], texts[0])


class Sample:
    """Turns of the rows that were offered, at most ``limit``, each turn being as likely (reservoir sampling)."""

    def __init__(self, find: Find, limit: int, seed: int = 0) -> None:
        self._find, self._limit = find, limit
        self._rng = np.random.default_rng(seed)
        self._kept: list[Turn] = []
        self._seen = 0

    def offer(self, row: Any) -> None:
        """Look at one more row."""
        for make in self._find(row):
            self._seen += 1
            if len(self._kept) < self._limit:
                self._kept.append(make())
            elif (place := int(self._rng.integers(self._seen))) < self._limit:
                self._kept[place] = make()

    def turns(self, epochs: int = 1) -> list[Turn]:
        """Return what was chosen, less what is beyond the limits of length; at least one, if any was seen."""
        # Files are often sorted by topic: what is left out must not be one of them.
        order = self._rng.permutation(len(self._kept)).tolist()
        answers = itertools.accumulate(_learned(self._kept[place]) for place in order)
        contexts = itertools.accumulate(self._kept[place].context.characters for place in order)
        room = min(TRAINING_BYTES, EPOCH_BYTES // epochs)
        fits = sum(a <= room and c <= CONTEXT_CHARACTERS for a, c in zip(answers, contexts, strict=True))
        return [self._kept[place] for place in sorted(order[: max(1, fits)])]


def sample(rows: Iterable[Any], find: Find = answers_of, limit: int | None = None, seed: int = 0) -> list[Turn]:
    """Return the sample of rows that are at hand."""
    chosen = Sample(find, TRAINING_TURNS if limit is None else limit, seed)
    for row in rows:
        chosen.offer(row)
    return chosen.turns()


def write(path: Path, turns: Iterable[Turn]) -> None:
    """Write turns to a file, one JSON line each."""
    with path.open("w", encoding="utf-8") as file:
        for turn in turns:
            fields = {"system": turn.context.system, "turns": turn.context.turns, "answers": turn.answers}
            file.write(json.dumps(fields) + "\n")


def read(path: Path) -> list[Turn]:
    """Return the turns of such a file."""
    with path.open(encoding="utf-8") as file:
        return [
            Turn(Context(fields["system"], tuple((role, text) for role, text in fields["turns"])), *fields["answers"])
            for fields in map(json.loads, file)
        ]


def _contents(row: Any) -> Sequence[Any]:
    contents = row.get("contents") if isinstance(row, Mapping) else None
    return contents if isinstance(contents, Sequence) and not isinstance(contents, str) else ()


def _turn(contents: Sequence[Any], number: int, system: Any, *answers: str) -> Turn:
    return Turn(context_of(contents[:number], system), *(answer[:_KEPT_CHARACTERS] for answer in answers))


def _learned(turn: Turn) -> int:
    return sum(min(len(answer.encode(errors="replace")), _LEARNED_BYTES) for answer in turn.answers)
