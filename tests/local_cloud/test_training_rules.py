"""Default epochs, checkpoints, data statistics and the store's order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local_cloud.vertex.jobs.store import Point, Store
from local_cloud.vertex.training.preparation import default_epochs
from local_cloud.vertex.training.statistics import DataStatistics, distribution, measure
from local_cloud.vertex.training.trainer import checkpoint_epochs

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(("examples", "epochs"), [(1, 20), (100, 20), (300, 7), (400, 5), (1000, 2), (10**7, 2)])
def test_the_default_epochs_show_the_learner_about_two_thousand_examples(examples: int, epochs: int) -> None:
    assert default_epochs(examples) == epochs


@pytest.mark.parametrize(
    ("epochs", "kept"),
    [
        (1, [1]),
        (9, [1, 2, 3, 4, 5, 6, 7, 8, 9]),
        (10, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]),
        (12, [1, 2, 4, 5, 6, 7, 8, 10, 11, 12]),
        (100, [10, 20, 30, 40, 50, 60, 70, 80, 90, 100]),
    ],
)
def test_checkpoints_are_spread_over_the_epochs(epochs: int, kept: list[int]) -> None:
    assert checkpoint_epochs(epochs, last_only=False) == kept
    assert checkpoint_epochs(epochs, last_only=True) == [epochs]


def test_a_distribution_has_six_equal_buckets_and_leaves_out_empty_ones() -> None:
    found = distribution([1, 2, 2, 30, 60])
    assert (found["sum"], found["min"], found["max"], found["mean"], found["median"]) == (95, 1, 60, 19, 2)
    assert found["buckets"] == [
        {"count": 3, "left": 1, "right": 10},
        {"count": 1, "left": 21, "right": 30},
        {"count": 1, "left": 51, "right": 60},
    ]
    assert distribution([4, 4])["buckets"] == [{"count": 2, "left": 4, "right": 4}]


@given(st.lists(st.integers(0, 2**40), min_size=1, max_size=50))
def test_a_distribution_is_that_of_its_values(values: list[int]) -> None:
    found = distribution(values)
    assert (found["sum"], found["billableSum"], found["min"], found["max"]) == (
        sum(values),
        sum(values),
        min(values),
        max(values),
    )
    assert found["min"] <= found["p5"] <= found["median"] <= found["p95"] <= found["max"]
    assert sum(bucket["count"] for bucket in found["buckets"]) == len(values)
    assert 1 <= len(found["buckets"]) <= 6


def test_statistics_separate_input_from_output_and_cut_long_texts() -> None:
    def content(role: str | None, text: str) -> dict[str, Any]:
        parts: dict[str, Any] = {"parts": [{"text": text}]}
        return {"role": role, **parts} if role else parts

    def letters(contents: list[dict[str, Any]], system: dict[str, Any] | None) -> int:
        return sum(len(part["text"]) for item in [*contents, system or {}] for part in item.get("parts", []))

    rows: list[dict[str, Any]] = [
        {
            "systemInstruction": content(None, "s" * 10),
            "contents": [content("user", "u" * 500), content("model", "m")],
        },
        {"contents": [content("user", "u"), content("model", "m"), content(None, "f"), content("model", "m")]},
    ]
    statistics = DataStatistics("supervised")
    for row in rows:
        statistics.add(row, measure(row, "supervised", letters))
    found = statistics.document()
    assert found["userInputTokenDistribution"]["sum"] == 10 + 500 + 2
    assert found["userOutputTokenDistribution"]["sum"] == 3
    assert found["totalBillableTokenCount"] == found["totalTuningCharacterCount"] == 515
    assert found["userMessagePerExampleDistribution"]["sum"] == 6
    assert found["userDatasetExamples"][0]["parts"][0]["text"] == "u" * 400 + "..."


def test_of_long_examples_a_job_shows_only_as_much_as_a_list_of_jobs_can_carry() -> None:
    data = {"inlineData": {"mimeType": "image/png", "data": "A" * 100_000}}
    file = {"fileData": {"mimeType": "image/png", "fileUri": "gs://b/i.png"}, "videoMetadata": {}, "surprise": 1}
    call = {"functionCall": {"name": "f", "args": {"text": "x" * 100_000}}}
    row = {"contents": [{"role": "user", "parts": [data, file, call, {"text": "t"}], "weight": 1}] * 400}
    statistics = DataStatistics("supervised")
    statistics.add(row, measure(row, "supervised", lambda contents, system: 0))
    shown = statistics.document()["userDatasetExamples"]
    assert shown == [{"role": "user", "parts": [{"fileData": file["fileData"]}, {"text": "t"}]}] * 20


def test_a_store_keeps_jobs_in_order_and_counts_them(tmp_path: Path) -> None:
    store = Store(tmp_path / "store.sqlite")
    for number in ("7", "5", "6"):
        store.add_job(number, "projects/1/locations/a", {"state": "JOB_STATE_PENDING"})
    store.add_job("8", "projects/1/locations/b", {"state": "JOB_STATE_PENDING"})
    store.update_job("5", state="JOB_STATE_FAILED")
    assert [job.id for job in store.jobs("projects/1/locations/a")] == ["6", "5", "7"]
    assert [job.id for job in store.jobs("projects/1/locations/a", before=3)] == ["5", "7"]
    assert [job.id for job in store.unfinished_jobs()] == ["7", "6", "8"]
    assert store.counter("tuning_jobs_created") == 4
    store.add_points("7", [Point("loss", 2, 0.5, "t2"), Point("loss", 1, 1.0, "t1")])
    assert [point.step for point in store.points("7", "loss")] == [1, 2]
    assert store.last_points("7") == [Point("loss", 2, 0.5, "t2")]
    store.forget_points("7")
    assert store.last_points("7") == []
    store.close()
