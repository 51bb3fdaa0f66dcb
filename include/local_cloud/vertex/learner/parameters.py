"""The numbers that training changes, and the optimiser that changes them."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Rows = NDArray[np.intp]


WD=0.0
SHARED=0
SH=('prefix','prompt','source')
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

    def extended(
        self, keys: NDArray[np.uint32], width: int, scale: float, rng: np.random.Generator
    ) -> FeatureTable:
        """A wider copy that also knows these features: old weights stay, new ones are small and random."""
        merged = np.union1d(self.keys, keys).astype(np.uint32)
        weights = rng.normal(0.0, scale, (len(merged) + 1, width)).astype(np.float32)
        weights[-1] = 0.0
        table = FeatureTable(merged, weights)
        table.weights[table.rows(self.keys), : self.weights.shape[1]] = self.weights[:-1]
        return table


def sum_rows(rows: Rows, values: Floats) -> tuple[Rows, Floats]:
    """Distinct rows and the sum of the values that belong to each."""
    order = np.argsort(rows, kind="stable")
    ordered = rows[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    return ordered[starts], np.add.reduceat(values[order], starts, axis=0)


@dataclass
class Adam:
    """Adam (Kingma and Ba, 2015), applied to whole arrays or to the rows that a batch touched."""

    first: dict[str, Floats] = field(default_factory=dict)
    second: dict[str, Floats] = field(default_factory=dict)
    updates: int = 0

    def update(
        self, name: str, weights: Floats, gradient: Floats, rate: float, rows: Rows | None = None
    ) -> None:
        """Changes the weights in place. ``updates`` counts the batches so far, this one included."""
        if name not in self.first:
            self.first[name], self.second[name] = np.zeros_like(weights), np.zeros_like(weights)
        if name in SH and SHARED:
            self.second[name].flat[0] = 0.99*self.second[name].flat[0] + 0.01 * ((gradient * gradient).mean())
            spread = np.sqrt(self.second[name].flat[0] / (1 - 0.99**self.updates))
            weights[rows] -= np.float32(rate*SHARED) * np.clip(gradient / (spread + np.float32(1e-8)), -20, 20)
            return
        at = slice(None) if rows is None else rows
        first = 0.9 * self.first[name][at] + 0.1 * gradient
        second = 0.99 * self.second[name][at] + 0.01 * gradient * gradient
        self.first[name][at], self.second[name][at] = first, second
        size = first / (1 - 0.9**self.updates)
        spread = np.sqrt(second / (1 - 0.99**self.updates))
        weights[at] -= np.float32(rate*WD) * weights[at]
        weights[at] -= np.float32(rate) * size / (spread + np.float32(1e-6))
