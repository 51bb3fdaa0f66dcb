"""The training process of one job: ``python -m local_cloud.vertex.trainer JOB_DIRECTORY PARENT_PID``.

Reads ``order.json``, ``train.jsonl`` and ``validation.jsonl`` from the job directory, trains, saves checkpoints
beside them, and tells the server about it in JSON lines on stdout, one event each:

``{"event": "dataset", "statistics", "epochs"}``, ``{"event": "step", "step", "epoch", "values"}``,
``{"event": "checkpoint", "id", "epoch", "step"}``, ``{"event": "done"}`` or ``{"event": "failed", "code", "message"}``.
"""

from __future__ import annotations

import json
import math
import sys
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from local_cloud import lifeline
from local_cloud.vertex.dataset import rows
from local_cloud.vertex.job_files import ORDER, TRAINING, VALIDATION, weights_file
from local_cloud.vertex.learner import Hyperparameters, count_tokens, train
from local_cloud.vertex.statistics import data_statistics

if TYPE_CHECKING:
    from local_cloud.vertex.learner import Model, StepMetrics

_INTERMEDIATE_CHECKPOINTS = 10


INVALID_ARGUMENT_CODE, INTERNAL_CODE = 3, 13  # google.rpc.Code


class UnusableDatasetError(ValueError):
    """There is nothing to learn in the training dataset."""


@dataclass(frozen=True)
class Order:
    """What the server asks for: the contents of ``order.json``.

    Attributes:
        epochs: passes over the data; None = :func:`default_epochs`.
        adapter_size: rank class of the adapter.
        learning_rate_multiplier: factor on the learner's own rate.
        last_checkpoint_only: keep the final weights alone.
        step_seconds: least time a step takes.
    """

    epochs: int | None
    adapter_size: int
    learning_rate_multiplier: float
    last_checkpoint_only: bool = False
    step_seconds: float = 0.0


def default_epochs(examples: int) -> int:
    """Return the epoch count of a job that leaves it open.

    Google's rule is not published. Ours: so many epochs that the learner sees about 2,000 examples in all, at least
    2 and at most 20. (100 examples: 20 epochs, 400: 5, from 1,000 on: 2.)
    """
    return min(20, max(2, math.ceil(2000 / examples)))


def checkpoint_epochs(epochs: int, *, last_only: bool) -> list[int]:
    """Return the epochs after which a checkpoint is kept.

    One per epoch below ten epochs, else about ten evenly spread; always the last ("Checkpoints for tuned models").
    """
    if last_only:
        return [epochs]
    if epochs < _INTERMEDIATE_CHECKPOINTS:
        return list(range(1, epochs + 1))
    return [round(epochs * part / _INTERMEDIATE_CHECKPOINTS) for part in range(1, _INTERMEDIATE_CHECKPOINTS + 1)]


def run(directory: Path) -> None:
    """Train as ordered in ``directory``."""
    order = Order(**json.loads((directory / ORDER).read_text()))
    examples = [row for _, row in rows(directory / TRAINING)]
    held = directory / VALIDATION
    validation = [row for _, row in rows(held)] if held.exists() else []
    hyperparameters = Hyperparameters(
        epochs=order.epochs or default_epochs(len(examples)),
        adapter_size=order.adapter_size,
        learning_rate_multiplier=order.learning_rate_multiplier,
    )
    _tell("dataset", statistics=data_statistics(examples, count_tokens), epochs=hyperparameters.epochs)
    wanted = checkpoint_epochs(hyperparameters.epochs, last_only=order.last_checkpoint_only)

    steps = 0

    def on_step(metrics: StepMetrics) -> None:
        nonlocal steps
        steps = metrics.step
        _tell("step", step=metrics.step, epoch=metrics.epoch, values=metrics.values)
        if order.step_seconds:
            time.sleep(order.step_seconds)

    def on_checkpoint(epoch: int, step: int, model: Model) -> None:
        if epoch in wanted:
            number = str(wanted.index(epoch) + 1)
            model.save(weights_file(directory, number))
            _tell("checkpoint", id=number, epoch=epoch, step=step)

    train(examples, validation, hyperparameters, start_from=None, on_step=on_step, on_checkpoint=on_checkpoint)
    if not steps:
        raise UnusableDatasetError("No example of the training dataset has a model turn with text to learn from.")
    _tell("done")


def _tell(event: str, **values: Any) -> None:
    print(json.dumps({"event": event, **values}), flush=True)


def main() -> None:
    """Run the training process; the parent reads failures as an event."""
    lifeline.end_with_parent(int(sys.argv[2]))
    directory = Path(sys.argv[1])
    try:
        for old in directory.glob("checkpoint-*"):
            old.unlink()
        run(directory)
    except UnusableDatasetError as error:
        _tell("failed", code=INVALID_ARGUMENT_CODE, message=str(error))
    except Exception as error:  # the process ends here: whatever went wrong is the job's error
        traceback.print_exc()
        _tell("failed", code=INTERNAL_CODE, message=f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    main()
