"""What operators need of a running task, without one."""

from __future__ import annotations

import json
import socket

import pytest


class TaskInstance:
    """Says who the task is, and keeps what it pushes."""

    dag_id = "paint"
    run_id = "manual__2026-11-22T10:00:00+00:00"
    task_id = "tune"
    map_index = -1
    try_number = 1
    max_tries = 5

    def __init__(self) -> None:
        self.pushed = {}

    def xcom_push(self, key, value):
        self.pushed[key] = json.loads(json.dumps(value))


class StateStore(dict):
    """Keeps JSON, as Airflow does."""

    def get(self, key):
        return json.loads(super().get(key, "null"))

    def set(self, key, value, *, retention):
        self[key] = json.dumps(value)


@pytest.fixture
def context():
    return {"ti": TaskInstance(), "run_id": TaskInstance.run_id, "task_state_store": StateStore()}


@pytest.fixture(autouse=True)
def little_patience(monkeypatch):
    """The local Vertex AI shows a new job at once."""
    monkeypatch.setenv("GEMINI_TUNING_SETTLE_SECONDS", "0.1")
    monkeypatch.setenv("GEMINI_TUNING_REQUEST_SECONDS", "0.2")


def example_line(prompt, answer):
    user = {"role": "user", "parts": [{"text": prompt}]}
    return json.dumps({"contents": [user, {"role": "model", "parts": [{"text": answer}]}]})


@pytest.fixture
def dataset(data_root):
    """A small dataset that can be learned; its name is unique to the test, so its objects are."""
    colours = ["red", "green", "blue", "black", "white", "brown", "grey", "pink"]
    lines = [example_line(f"Where is the {colour} paint?", f"On shelf {colour}-1.") for colour in colours]
    (data_root / "train.jsonl").write_text("\n".join([*lines, example_line(str(data_root), "A path.")]) + "\n")
    (data_root / "validation.jsonl").write_text(example_line("Where is the golden paint?", "On shelf golden-1.") + "\n")
    return data_root


@pytest.fixture
def unused_port():
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
