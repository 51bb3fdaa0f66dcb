"""The training process, stage by stage, on datasets at and beyond the limits."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from tests.local_cloud.services import INCLUDE, example

from local_cloud.vertex.learner import GenerationSettings, Model

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

INVALID_ARGUMENT, FAILED_PRECONDITION = 3, 9
SHORT = example("ping?", "pong!")
LONG = example(" ".join(["ping"] * 60), "pong!")
PICTURE = {"fileData": {"mimeType": "image/png", "fileUri": "gs://bucket/picture.png"}}
ALBUM = {"contents": [{"role": "user", "parts": [PICTURE] * 4}, {"role": "model", "parts": [{"text": "Pictures."}]}]}

Events = list[dict[str, Any]]


@pytest.fixture
def job(tmp_path: Path) -> Callable[..., Path]:
    """Makes a job directory from training rows, validation rows and fields of the order."""

    def make(train: list[Any], validation: list[Any] | None = None, name: str = "job", **order: Any) -> Path:
        directory = tmp_path / name
        directory.mkdir()
        fields = {"epochs": 1, "adapter_size": 1, "learning_rate_multiplier": 1.0, "tokens_per_example": 50}
        (directory / "order.json").write_text(json.dumps({**fields, "images_per_example": 3, **order}))
        for file, rows in (("train", train), ("validation", validation or [])):
            if rows:
                text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
                (directory / f"{file}.jsonl").write_text(text, encoding="utf-8")
        return directory

    return make


def run(stage: str, directory: Path) -> Events:
    """Run a stage as the server does and return what it told."""
    process = subprocess.run(
        [sys.executable, "-m", "local_cloud.vertex.training.trainer", stage, str(directory), str(os.getpid()), "0"],
        env={**os.environ, "PYTHONPATH": str(INCLUDE)},
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    return [json.loads(line) for line in process.stdout.splitlines()]


def statistics_of(events: Events) -> dict[str, Any]:
    assert [event["event"] for event in events] == ["dataset"], events
    statistics: dict[str, Any] = events[0]["statistics"]
    return statistics


def say(weights: Path, prompt: str) -> str:
    model = Model.load(weights)
    return model.answer([{"role": "user", "parts": [{"text": prompt}]}], None, GenerationSettings(0.0)).text


class TestDroppedExamples:
    def test_they_are_reported_and_neither_billed_nor_learned(self, job: Callable[..., Path]) -> None:
        plain = statistics_of(run("prepare", job([SHORT] * 18, name="plain")))
        directory = job([SHORT] * 9 + [LONG] + [SHORT] * 9 + [ALBUM], [SHORT, LONG], name="limits")
        found = statistics_of(run("prepare", directory))
        assert found["tuningDatasetExampleCount"] == 20
        assert found["totalTruncatedExampleCount"] == 2
        assert found["truncatedExampleIndices"] == [10, 20]
        assert found["droppedExampleReasons"] == [
            "The example has 62 tokens; the limit is 50.",
            "The example has 4 images; the limit is 3.",
        ]
        told = {"tuningDatasetExampleCount", "totalTruncatedExampleCount", "truncatedExampleIndices"}
        told.add("droppedExampleReasons")
        assert {key: value for key, value in found.items() if key not in told} == {
            key: value for key, value in plain.items() if key != "tuningDatasetExampleCount"
        }
        learned = [json.loads(line)["answers"] for line in (directory / "sample.jsonl").read_text().splitlines()]
        assert learned == [["pong!"]] * 18
        assert len((directory / "held_out.jsonl").read_text().splitlines()) == 1

    def test_more_than_a_tenth_fails_the_job_before_it_trains(self, job: Callable[..., Path]) -> None:
        events = run("prepare", job([SHORT] * 16 + [LONG] * 2))
        assert [event["event"] for event in events] == ["failed"]
        assert events[0]["code"] == INVALID_ARGUMENT
        assert "2 of 18 training examples (11.1%)" in events[0]["message"]
        assert "example 17: The example has 62 tokens" in events[0]["message"]

    def test_how_many_may_be_dropped_is_ordered(self, job: Callable[..., Path]) -> None:
        rows = [SHORT] * 16 + [LONG] * 2
        assert run("prepare", job(rows, name="lenient", dropped_share=0.2))[0]["event"] == "dataset"
        (event,) = run("prepare", job(rows, name="strict", dropped_share=0.05))
        assert "more than 5%" in event["message"]

    def test_of_many_only_some_are_named(self, job: Callable[..., Path]) -> None:
        found = statistics_of(run("prepare", job([LONG] * 12 + [SHORT] * 120)))
        assert found["totalTruncatedExampleCount"] == 12
        assert found["truncatedExampleIndices"] == list(range(1, 11))
        assert len(found["droppedExampleReasons"]) == 10

    def test_without_limits_nothing_is_dropped(self, job: Callable[..., Path]) -> None:
        directory = job([LONG, ALBUM], tokens_per_example=None, images_per_example=None)
        assert "totalTruncatedExampleCount" not in statistics_of(run("prepare", directory))

    def test_of_a_preference_the_longer_completion_counts(self, job: Callable[..., Path]) -> None:
        def row(better: str) -> dict[str, Any]:
            completions = [
                {"score": score, "completion": {"role": "model", "parts": [{"text": text}]}}
                for score, text in ((1, better), (0, "no no"))
            ]
            return {"contents": SHORT["contents"][:1], "completions": completions}

        rows = [row("yes")] * 19 + [row(" ".join(["yes"] * 60))]
        found = statistics_of(run("prepare", job(rows, method="preference")))
        prompt, better, worse = 2, 1, 2
        assert found["tuningDatasetExampleCount"] == 20
        assert found["totalBillableTokenCount"] == 19 * (2 * prompt + better + worse)
        assert found["userInputTokenDistribution"]["sum"] == 19 * prompt
        assert found["userOutputTokenDistribution"]["sum"] == 19 * (better + worse)
        assert found["droppedExampleIndices"] == [20]
        assert found["droppedExampleReasons"] == ["The example has 62 tokens; the limit is 50."]
        assert found["userDatasetExamples"] == rows[:3]


class TestDatasetsWithNothingToLearn:
    @pytest.mark.parametrize(
        "row",
        [
            {"contents": [{"role": "user", "parts": [{"text": "no answer"}]}]},
            example("an empty answer", " "),
            {"contents": [{"parts": [PICTURE]}, {"role": "model", "parts": [{"functionCall": {"name": "f"}}]}]},
        ],
    )
    def test_fail_in_the_first_stage(self, job: Callable[..., Path], row: dict[str, Any]) -> None:
        events = run("prepare", job([row]))
        assert [(event["event"], event["code"]) for event in events] == [("failed", INVALID_ARGUMENT)]
        assert "to learn from" in events[0]["message"]


class TestOddDatasets:
    def test_all_kinds_of_text_are_trained_on(self, job: Callable[..., Path]) -> None:
        """Also in the extremes of the hyperparameters."""
        rows = [
            example("", "an empty question"),
            example("नमस्ते 👩‍👩‍👧 שלום", "Z̶a̶l̶g̶o̶ \U0001f600 \u2028 \x00 \x7f 漢字かな"),
            {"contents": [{"role": ("USER", "Model")[n % 2], "parts": [{"text": f"turn {n}"}]} for n in range(400)]},
            example("endless", "word " * 20_000),
            ALBUM,
            {
                "system_instruction": {"parts": [{"text": "Be brief."}]},
                "contents": [
                    {"role": "user", "parts": [{"text": "Weather?"}]},
                    {"role": "model", "parts": [{"functionCall": {"name": "weather", "args": {}}}]},
                    {"parts": [{"functionResponse": {"name": "weather", "response": {"sky": "blue"}}}]},
                    {"role": "model", "parts": [{"text": "The sky is blue."}]},
                ],
            },
        ]
        free = {"tokens_per_example": None, "images_per_example": None}
        for number, (size, rate) in enumerate([(1, 0.01), (16, 10.0)]):
            directory = job(
                rows, rows, name=f"odd-{number}", adapter_size=size, learning_rate_multiplier=rate, epochs=1, **free
            )
            statistics = statistics_of(run("prepare", directory))
            assert statistics["userMessagePerExampleDistribution"]["max"] == 400
            assert statistics["userOutputTokenDistribution"]["max"] >= 20_000
            assert len(json.dumps(statistics)) < 30_000
            events = run("train", directory)
            assert events[-1] == {"event": "done"}
            assert "NaN" not in json.dumps(events)
            assert "Infinity" not in json.dumps(events)

    def test_one_example_a_hundred_times(self, job: Callable[..., Path]) -> None:
        directory = job([SHORT], epochs=100, adapter_size=16)
        run("prepare", directory)
        events = run("train", directory)
        assert [event["epoch"] for event in events if event["event"] == "checkpoint"] == list(range(10, 101, 10))
        assert say(directory / "checkpoint-10.npz", "ping?") == "pong!"


class TestStages:
    def test_training_needs_only_what_the_first_stage_left(self, job: Callable[..., Path]) -> None:
        directory = job([SHORT] * 3, [SHORT], epochs=None)
        assert run("prepare", directory)[0]["epochs"] == 20
        for file in ("train", "validation"):
            (directory / f"{file}.jsonl").unlink()
        (directory / "checkpoint-99.npz").write_bytes(b"of an earlier attempt")
        first, again = run("train", directory), run("train", directory)
        assert first == again
        assert first[-1] == {"event": "done"}
        assert not (directory / "checkpoint-99.npz").exists()

    def test_a_large_file_is_read_in_little_memory(self, job: Callable[..., Path]) -> None:
        rows = [example(f"question {number}", f"answer {number % 7} " + "and so on " * 30) for number in range(40_000)]
        directory = job(rows, tokens_per_example=None)
        assert (directory / "train.jsonl").stat().st_size > 15e6
        # A process counts the memory of the one it was forked from as its own: it needs a small parent.
        program = (
            "import os, resource, subprocess, sys;"
            "trainer = [sys.executable, '-m', 'local_cloud.vertex.training.trainer'];"
            "command = [*trainer, 'prepare', sys.argv[1], str(os.getpid()), '0'];"
            "subprocess.run(command, check=True);"
            "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
        )
        out = subprocess.run(
            [sys.executable, "-c", program, str(directory)],
            env={**os.environ, "PYTHONPATH": str(INCLUDE)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.splitlines()
        statistics = json.loads(out[0])["statistics"]
        assert statistics["tuningDatasetExampleCount"] == 40_000
        assert statistics["totalTuningCharacterCount"] == sum(
            len(part["text"]) for row in rows for turn in row["contents"] for part in turn["parts"]
        )
        learned = (directory / "sample.jsonl").read_text().splitlines()
        assert 500 < len(learned) <= 1000
        assert int(out[1]) < 120_000 * (1024 if sys.platform == "darwin" else 1)


class TestContinuousTuning:
    def test_old_answers_stay_and_new_ones_come(self, job: Callable[..., Path]) -> None:
        old = {
            f"Which shelf holds the {c} paint?": f"The {c} paint stands on shelf {c}-1."
            for c in ("red", "green", "blue")
        }
        new = {"Who is the owner?": "Mrs Smith owns the shop."}
        first = job([example(*pair) for pair in old.items()], name="first", epochs=40, adapter_size=4)
        second_order = {"epochs": 40, "adapter_size": 8, "last_checkpoint_only": True}
        weights = first / "checkpoint-10.npz"
        second = job([example(*p) for p in new.items()], name="second", start_from=str(weights), **second_order)
        for directory in (first, second):
            run("prepare", directory)
            events = run("train", directory)
            accuracy = "train_fraction_of_correct_next_step_preds"
            assert [e for e in events if e["event"] == "step"][-1]["values"][accuracy] == 1.0
        tuned = second / "checkpoint-1.npz"
        assert {prompt: say(tuned, prompt) for prompt in old | new} == old | new
        assert Model.load(tuned).adapter.rank == Model.load(weights).adapter.rank

    @pytest.mark.parametrize("content", [None, b"no weights", b""])
    def test_weights_that_are_gone_fail_the_job(self, job: Callable[..., Path], content: bytes | None) -> None:
        directory = job([SHORT])
        weights = directory.parent / "earlier.npz"
        order = json.loads((directory / "order.json").read_text())
        (directory / "order.json").write_text(json.dumps({**order, "start_from": str(weights)}))
        if content is not None:
            weights.write_bytes(content)
        run("prepare", directory)
        events = run("train", directory)
        assert [(event["event"], event["code"]) for event in events] == [("failed", FAILED_PRECONDITION)]
        assert "weights of the pre-tuned model cannot be read" in events[0]["message"]
