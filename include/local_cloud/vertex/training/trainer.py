"""The training process of one job: ``python -m local_cloud.vertex.training.trainer STAGE DIRECTORY PARENT_PID PACE``.

``prepare`` reads ``order.json``, ``train.jsonl`` and ``validation.jsonl`` in the job directory and chooses what is
learned of them; ``train`` learns that and saves checkpoints beside it, in the same process life or in a later one,
taking at least PACE seconds for each step. Both tell the server about it in JSON lines on stdout, one event each:

``{"event": "dataset", "statistics", "epochs"}``, ``{"event": "step", "step", "epoch", "values"}``,
``{"event": "checkpoint", "id", "epoch", "step"}``, ``{"event": "done"}`` or ``{"event": "failed", "code", "message"}``.
"""

from __future__ import annotations

import json
import sys
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

from local_cloud import lifeline
from local_cloud.vertex.errors import FAILED_PRECONDITION_CODE, INTERNAL_CODE, INVALID_ARGUMENT_CODE
from local_cloud.vertex.learner import Hyperparameters, Model, train
from local_cloud.vertex.learner.turns import read
from local_cloud.vertex.training.files import HELD_OUT, PREPARED, SAMPLE, weights_file
from local_cloud.vertex.training.order import read_order
from local_cloud.vertex.training.preparation import UnusableDatasetError, prepare

if TYPE_CHECKING:
    from local_cloud.vertex.learner import StepMetrics
    from local_cloud.vertex.training.order import Order

_INTERMEDIATE_CHECKPOINTS = 10


class UnusableWeightsError(ValueError):
    """The weights to go on from are gone or cannot be read."""


def checkpoint_epochs(epochs: int, *, last_only: bool) -> list[int]:
    """Return the epochs after which a checkpoint is kept.

    One per epoch below ten epochs, else about ten evenly spread; always the last ("Checkpoints for tuned models").
    """
    if last_only:
        return [epochs]
    if epochs < _INTERMEDIATE_CHECKPOINTS:
        return list(range(1, epochs + 1))
    return [round(epochs * part / _INTERMEDIATE_CHECKPOINTS) for part in range(1, _INTERMEDIATE_CHECKPOINTS + 1)]


def run_prepare(directory: Path, _pace: float) -> None:
    """Read the dataset in ``directory``."""
    prepared = prepare(directory, read_order(directory))
    _tell("dataset", statistics=prepared.statistics, epochs=prepared.epochs)


def run_train(directory: Path, pace: float) -> None:
    """Train on what was prepared in ``directory``."""
    for old in directory.glob("checkpoint-*"):
        old.unlink()
    order = read_order(directory)
    hyperparameters = Hyperparameters(
        epochs=json.loads((directory / PREPARED).read_text())["epochs"],
        adapter_size=order.adapter_size,
        learning_rate_multiplier=order.learning_rate_multiplier,
        **({} if order.beta is None else {"beta": order.beta}),
    )
    wanted = checkpoint_epochs(hyperparameters.epochs, last_only=order.last_checkpoint_only)

    def on_step(metrics: StepMetrics) -> None:
        _tell("step", step=metrics.step, epoch=metrics.epoch, values=metrics.values)
        time.sleep(pace)

    def on_checkpoint(epoch: int, step: int, model: Model) -> None:
        if epoch in wanted:
            number = str(wanted.index(epoch) + 1)
            model.save(weights_file(directory, number))
            _tell("checkpoint", id=number, epoch=epoch, step=step)

    train(
        read(directory / SAMPLE),
        read(directory / HELD_OUT),
        hyperparameters,
        start_from=_earlier_weights(order),
        on_step=on_step,
        on_checkpoint=on_checkpoint,
    )
    _tell("done")


def _earlier_weights(order: Order) -> Model | None:
    if order.start_from is None:
        return None
    try:
        return Model.load(order.start_from)
    except Exception as error:  # whatever NumPy raises for a file that is none of its own
        raise UnusableWeightsError(f"The weights of the pre-tuned model cannot be read: {error}") from error


def _tell(event: str, **values: Any) -> None:
    print(json.dumps({"event": event, **values}), flush=True)


_STAGES = {"prepare": run_prepare, "train": run_train}


def main() -> None:
    """Run a stage of the training process; the parent reads failures as an event."""
    stage, directory, parent, pace = sys.argv[1:]
    lifeline.end_with_parent(int(parent))
    try:
        _STAGES[stage](Path(directory), float(pace))
    except UnusableDatasetError as error:
        _tell("failed", code=INVALID_ARGUMENT_CODE, message=str(error))
    except UnusableWeightsError as error:
        _tell("failed", code=FAILED_PRECONDITION_CODE, message=str(error))
    except Exception:  # the process ends here: the log beside the weights says what went wrong
        traceback.print_exc()
        _tell("failed", code=INTERNAL_CODE, message="Internal error encountered.")


if __name__ == "__main__":
    main()
