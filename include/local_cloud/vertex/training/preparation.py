"""The first stage of training: read the whole dataset once, count it, and choose what is learned of it.

Only counts and the chosen turns are kept in memory, whatever the size of the file. Examples beyond a limit of the
base model are dropped; Vertex AI fails a job that would lose more than a tenth of its examples that way.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from local_cloud.vertex.learner import Sample, answers_of, count_tokens, preferences_of
from local_cloud.vertex.learner.turns import TRAINING_TURNS, VALIDATION_TURNS, write
from local_cloud.vertex.training.files import HELD_OUT, PREPARED, SAMPLE, TRAINING, VALIDATION
from local_cloud.vertex.training.rows import rows
from local_cloud.vertex.training.statistics import DataStatistics, measure

if TYPE_CHECKING:
    from pathlib import Path

    from local_cloud.vertex.training.order import Order
    from local_cloud.vertex.training.statistics import Measured

_FIND = {"supervised": answers_of, "preference": preferences_of}


class UnusableDatasetError(ValueError):
    """There is nothing to learn in the training dataset, or too much of it is beyond the limits."""


@dataclass(frozen=True)
class Prepared:
    """What is known once the dataset has been read.

    Attributes:
        epochs: as ordered, or as chosen.
        statistics: canonical statistics of the training data.
    """

    epochs: int
    statistics: dict[str, Any]


def prepare(directory: Path, order: Order) -> Prepared:
    """Read the dataset of a job directory and leave there what training needs.

    Raises:
        UnusableDatasetError: training must not begin.
    """
    statistics = DataStatistics(order.method)
    sample = _read(directory / TRAINING, order, Sample(_FIND[order.method], TRAINING_TURNS), statistics)
    if statistics.dropped > order.dropped_share * statistics.examples:
        share = statistics.dropped / statistics.examples
        raise UnusableDatasetError(
            f"{statistics.dropped} of {statistics.examples} training examples ({share:.1%}) would be dropped, which is "
            f"more than {order.dropped_share:.0%}. The first: {statistics.first_reason}"
        )
    epochs = order.epochs or default_epochs(statistics.examples - statistics.dropped)
    turns = sample.turns(epochs)
    if not turns:
        raise UnusableDatasetError("No example of the training dataset has a model turn with text to learn from.")
    write(directory / SAMPLE, turns)
    held_out = Sample(_FIND[order.method], VALIDATION_TURNS)
    if (directory / VALIDATION).exists():
        _read(directory / VALIDATION, order, held_out, DataStatistics(order.method))
    write(directory / HELD_OUT, held_out.turns())
    prepared = Prepared(epochs, statistics.document())
    (directory / PREPARED).write_text(json.dumps(asdict(prepared)))
    return prepared


def default_epochs(examples: int) -> int:
    """Return the epoch count of a job that leaves it open.

    Google's rule is not published. Ours: so many epochs that the learner sees about 2,000 examples in all, at least
    2 and at most 20. (100 examples: 20 epochs, 400: 5, from 1,000 on: 2.)
    """
    return min(20, max(2, math.ceil(2000 / examples)))


def _read(path: Path, order: Order, sample: Sample, statistics: DataStatistics) -> Sample:
    for _, row in rows(path):
        measured = measure(row, order.method, count_tokens)
        reason = _reason_to_drop(measured, order)
        if reason:
            statistics.drop(reason)
        else:
            statistics.add(row, measured)
            sample.offer(row)
    return sample


def _reason_to_drop(measured: Measured, order: Order) -> str | None:
    if order.tokens_per_example is not None and measured.length > order.tokens_per_example:
        return f"The example has {measured.length} tokens; the limit is {order.tokens_per_example}."
    if order.images_per_example is not None and measured.images > order.images_per_example:
        return f"The example has {measured.images} images; the limit is {order.images_per_example}."
    return None
