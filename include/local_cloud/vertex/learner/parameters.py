"""The numbers that training changes, and the optimiser that changes them."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Rows = NDArray[np.intp]


_KEEP_FIRST, _KEEP_SECOND = np.float32(0.9), np.float32(0.99)
_STEEPEST = np.float32(20.0)
_FLOOR = np.float32(1e-6)
_FURTHEST = np.float32(30.0)
FASTEST = 1e6
# With these bounds the largest learning rate gives a bad model, never a NaN.


class FeatureTable:
    """A row of weights for each known feature; an unknown feature has a last row that stays zero."""

    def __init__(self, keys: NDArray[np.uint32], weights: Floats) -> None:
        self.keys, self.weights = keys, weights

    @classmethod
    def empty(cls, width: int) -> FeatureTable:
        """A table that knows no feature."""
        return cls(np.zeros(0, np.uint32), np.zeros((1, width), np.float32))

    @property
    def unknown(self) -> int:
        """The row of every unknown feature."""
        return len(self.keys)

    def rows(self, keys: NDArray[np.uint32]) -> Rows:
        """The row of each feature, in the shape of the argument."""
        if not len(self.keys):
            return np.zeros(keys.shape, np.intp)
        places = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        return np.where(self.keys[places] == keys, places, len(self.keys))

    def extended(self, keys: NDArray[np.uint32], width: int, scale: float, rng: np.random.Generator) -> FeatureTable:
        """A copy that also knows these features: old weights stay, new ones are random around zero."""
        merged = np.union1d(self.keys, keys).astype(np.uint32)
        weights = rng.normal(0.0, scale, (len(merged) + 1, width)).astype(np.float32)
        weights[-1] = 0.0
        table = FeatureTable(merged, weights)
        if len(self.keys):
            weights[table.rows(self.keys)] = self.weights[:-1]
        return table


def sum_rows(rows: Rows, values: Floats) -> tuple[Rows, Floats]:
    """Distinct rows and the sum of the values that belong to each; there may be none."""
    if not len(rows):
        return rows, values
    order = np.argsort(rows, kind="stable")
    ordered = rows[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    return ordered[starts], np.add.reduceat(values[order], starts, axis=0)


@dataclass
class Adam:
    """Adam (Kingma and Ba, 2015) for whole arrays and, for the few rows of a table that a batch touches, a form of it
    without momentum and with one spread for the table: a rare feature must not move as far as a frequent one."""

    first: dict[str, Floats] = field(default_factory=dict)
    second: dict[str, Floats] = field(default_factory=dict)
    updates: int = 0
    """Batches so far, the present one included; the caller counts."""

    def update(self, name: str, weights: Floats, gradient: Floats, rate: Floats) -> None:
        """Changes an array in place."""
        first = self.first.get(name, np.float32(0)) * _KEEP_FIRST + (1 - _KEEP_FIRST) * gradient
        spread = self._spread(name, gradient * gradient)
        self.first[name] = first
        weights -= rate / np.float32(1 - _KEEP_FIRST**self.updates) * first / spread
        np.clip(weights, -_FURTHEST, _FURTHEST, out=weights)

    def update_rows(self, name: str, weights: Floats, gradient: Floats, rate: Floats, rows: Rows) -> None:
        """Changes distinct rows of a table in place; ``gradient`` has a row for each."""
        if len(rows):
            spread = self._spread(name, (gradient * gradient).mean(keepdims=True))
            moved = weights[rows] - rate * np.clip(gradient / spread, -_STEEPEST, _STEEPEST)
            weights[rows] = np.clip(moved, -_FURTHEST, _FURTHEST)

    def _spread(self, name: str, square: Floats) -> Floats:
        second = self.second.get(name, np.float32(0)) * _KEEP_SECOND + (1 - _KEEP_SECOND) * square
        self.second[name] = second
        spread: Floats = np.sqrt(second / (1 - _KEEP_SECOND**self.updates)) + _FLOOR
        return spread
