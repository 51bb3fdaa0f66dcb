"""Count many numbers at once."""

from __future__ import annotations

import os
from array import array
from collections import Counter
from typing import Any

_MANY = 300_000  # below, loading numpy takes longer than counting


def tally(numbers: array[int]) -> dict[int, int]:
    """Return how often each number occurs."""
    if len(numbers) <= _MANY:
        return Counter(numbers)
    np = _numpy()
    found, counts = np.unique(np.frombuffer(numbers, numbers.typecode), return_counts=True)
    return dict(zip(found.tolist(), counts.tolist(), strict=True))


def repeated(numbers: array[int]) -> set[int]:
    """Return the numbers that occur more than once."""
    if len(numbers) <= _MANY:
        return {number for number, count in Counter(numbers).items() if count > 1}
    np = _numpy()
    ordered = np.sort(np.frombuffer(numbers, numbers.typecode))
    return set(ordered[1:][ordered[1:] == ordered[:-1]].tolist())


def _numpy() -> Any:
    """Load numpy without a thread for each core, which nothing here uses and which takes half of the time."""
    name = "OPENBLAS_NUM_THREADS"
    given = os.environ.get(name)
    os.environ[name] = given or "1"
    try:
        import numpy as np
    finally:
        if given is None:
            os.environ.pop(name, None)
    return np
