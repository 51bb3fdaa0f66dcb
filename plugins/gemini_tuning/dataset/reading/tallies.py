"""Count and find many numbers at once. They have 64 bits where nothing else is said, their places 32."""

from __future__ import annotations

import os
from array import array
from collections import Counter
from collections.abc import Sequence
from itertools import chain
from typing import Any

_MANY = 300_000  # below, loading numpy takes longer than counting


def tally(numbers: array[int]) -> dict[int, int]:
    """Return how often each number occurs, of whatever size they are."""
    if len(numbers) <= _MANY:
        return Counter(numbers)
    np = _numpy()
    found, counts = np.unique(np.frombuffer(numbers, numbers.typecode), return_counts=True)
    return dict(zip(found.tolist(), counts.tolist(), strict=True))


def shared(numbers: array[int], others: Sequence[array[int]]) -> array[int]:
    """Return the places of the numbers that occur more than once, or in one of the others too."""
    if len(numbers) + sum(map(len, others)) <= _MANY:
        counts = Counter(numbers)
        wanted = {number for number, count in counts.items() if count > 1}
        wanted.update(number for number in chain.from_iterable(others) if number in counts)
        return array("I", (place for place, number in enumerate(numbers) if number in wanted) if wanted else ())
    np = _numpy()
    values = np.frombuffer(numbers, np.uint64)
    ordered = np.sort(values)
    found = [ordered[1:][ordered[1:] == ordered[:-1]]]
    for other in others:
        elsewhere = np.frombuffer(other, np.uint64)
        found.append(elsewhere[_among(elsewhere, ordered)])
    return _array(np.flatnonzero(_among(values, np.unique(np.concatenate(found)))))


def firsts(numbers: array[int]) -> array[int]:
    """Return for each number the place of the first that is equal, which may be its own."""
    if len(numbers) <= _MANY:
        seen: dict[int, int] = {}
        return array("I", (seen.setdefault(number, place) for place, number in enumerate(numbers)))
    np = _numpy()
    values = np.frombuffer(numbers, np.uint64)
    order = np.argsort(values, kind="stable").astype(np.uint32)
    ordered = values[order]
    starts = np.ones(len(order), bool)
    starts[1:] = ordered[1:] != ordered[:-1]
    del ordered
    heads = np.flatnonzero(starts)
    found = np.empty_like(order)
    found[order] = np.repeat(order[heads], np.diff(heads, append=len(order)))
    return _array(found)


def ascending(numbers: array[int]) -> array[int]:
    """Return the places of the numbers from the least to the greatest, equal ones as they stand."""
    if len(numbers) <= _MANY:
        return array("I", sorted(range(len(numbers)), key=numbers.__getitem__))
    np = _numpy()
    return _array(np.argsort(np.frombuffer(numbers, np.uint64), kind="stable"))


def _among(values: Any, ordered: Any) -> Any:
    """Return of each value whether it is one of the others, which are sorted."""
    if not len(ordered):
        return _numpy().zeros(len(values), bool)
    places = _numpy().searchsorted(ordered[:-1], values)  # beyond all of these comes the last
    return ordered[places] == values


def _array(places: Any) -> array[int]:
    return array("I", places.astype("uint32", copy=False).tobytes())


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
