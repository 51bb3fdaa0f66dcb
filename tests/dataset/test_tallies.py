"""Many numbers are counted, found and ordered as few are."""

import os
import random
from array import array
from collections import Counter

import pytest

from gemini_tuning.dataset.reading import tallies
from gemini_tuning.dataset.reading.tallies import ascending, firsts, shared, tally


@pytest.fixture(params=[10**6, -1], ids=["few", "many"])
def limit(request, monkeypatch):
    monkeypatch.setattr(tallies, "_MANY", request.param)
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    yield
    assert "OPENBLAS_NUM_THREADS" not in os.environ


def numbers(count, code="Q"):
    rng = random.Random(count)
    return array(code, [rng.choice((0, 7, 2**32 - 1, rng.randrange(count))) for _ in range(count)])


@pytest.mark.parametrize("code", ["I", "Q"])
@pytest.mark.parametrize("count", [0, 1, 2, 500])
@pytest.mark.usefixtures("limit")
def test_each_is_counted(code, count):
    given = numbers(count, code)
    assert tally(given) == Counter(given)


@pytest.mark.parametrize("count", [0, 1, 2, 500])
@pytest.mark.parametrize("others", [[], [[]], [[7]], [[499, 2**64 - 1], [0, 3, 3]], [range(1000)]])
@pytest.mark.usefixtures("limit")
def test_what_occurs_twice_or_elsewhere_is_found(count, others):
    given = numbers(count)
    expected = [
        place
        for place, number in enumerate(given)
        if given.count(number) > 1 or any(number in other for other in others)
    ]
    assert list(shared(given, [array("Q", other) for other in others])) == expected


@pytest.mark.parametrize("count", [0, 1, 2, 500])
@pytest.mark.usefixtures("limit")
def test_the_first_of_equal_numbers_is_found(count):
    given = numbers(count)
    assert list(firsts(given)) == list(map(given.index, given))


@pytest.mark.parametrize("count", [0, 1, 2, 500])
@pytest.mark.usefixtures("limit")
def test_equal_numbers_keep_their_order(count):
    given = numbers(count)
    assert list(ascending(given)) == sorted(range(count), key=given.__getitem__)
