"""Damage lines of a large file in every way we know: each is found at its line, the others raise nothing."""

import random

import pytest
from tests.dataset.lines import DAMAGE, good_lines

from gemini_tuning.dataset.check import check_dataset
from gemini_tuning.tuning.models import ModelTable

LINES = 10_000


def check(path, processes):
    return check_dataset(
        str(path),
        None,
        base_model="gemini-2.5-flash",
        epochs=None,
        models=ModelTable.load(),
        root=None,
        storage=None,
        processes=processes,
    )


@pytest.fixture(scope="module")
def damaged(tmp_path_factory):
    """A file with every kind of damage at a random line of its own."""
    rng = random.Random(4)
    lines = good_lines(4, LINES)
    places = dict(zip(DAMAGE, rng.sample(range(LINES), len(DAMAGE)), strict=True))
    for name, index in places.items():
        lines[index] = DAMAGE[name][0]
    path = tmp_path_factory.mktemp("damaged") / "train.jsonl"
    path.write_bytes(b"\n".join(lines) + b"\n")
    return path, {name: index + 1 for name, index in places.items()}


@pytest.fixture(scope="module", params=[0, 2], ids=["one process", "three processes"])
def report(request, damaged):
    return check(damaged[0], request.param)


def test_there_are_many_kinds_of_damage():
    assert len(DAMAGE) >= 60


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_found_at_its_line_with_its_code_and_path(name, damaged, report):
    _, code, path = DAMAGE[name]
    found = [finding for finding in report.errors + report.warnings if finding.line == damaged[1][name]]
    assert code in {finding.code for finding in found}
    assert path in {finding.path for finding in found if finding.code == code}


def test_the_undamaged_lines_raise_nothing(damaged, report):
    lines = {finding.line for finding in report.errors + report.warnings}
    assert not report.truncated
    assert lines - {None} == set(damaged[1].values())


def test_good_lines_alone_raise_nothing(tmp_path):
    path = tmp_path / "train.jsonl"
    path.write_bytes(b"\n".join(good_lines(5, 2000)))
    report = check(path, 0)
    assert report.accepted
    assert report.counts.warnings == 0
    assert report.train.examples == 2000
