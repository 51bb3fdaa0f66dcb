"""What operators need of a running task, without one."""

from __future__ import annotations

import json
import socket

import pytest


class TaskInstance:
    """Keeps what a task pushes."""

    def __init__(self) -> None:
        self.pushed = {}

    def xcom_push(self, key, value):
        self.pushed[key] = json.loads(json.dumps(value))


@pytest.fixture
def context():
    return {"ti": TaskInstance(), "run_id": "manual__2026-11-22T10:00:00+00:00"}


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
