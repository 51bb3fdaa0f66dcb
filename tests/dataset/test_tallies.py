"""Many numbers are counted as few are."""

import os
import random
from array import array
from collections import Counter

import pytest

from gemini_tuning.dataset.reading import tallies
from gemini_tuning.dataset.reading.tallies import repeated, tally


@pytest.mark.parametrize("code", ["I", "Q"])
@pytest.mark.parametrize("count", [0, 1, 2, 500])
def test_many_are_counted_as_few_are(code, count, monkeypatch):
    rng = random.Random(count)
    numbers = array(code, [rng.choice((0, 7, 2**32 - 1, rng.randrange(2**30))) for _ in range(count)])
    few = tally(numbers), repeated(numbers)
    monkeypatch.setattr(tallies, "_MANY", -1)
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    assert (tally(numbers), repeated(numbers)) == few
    assert few[0] == Counter(numbers)
    assert few[1] == {number for number in numbers if numbers.count(number) > 1}
    assert "OPENBLAS_NUM_THREADS" not in os.environ
