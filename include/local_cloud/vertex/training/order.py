"""What the server asks a training process for: the contents of ``order.json``."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from local_cloud.vertex.training.files import ORDER

if TYPE_CHECKING:
    from pathlib import Path

    from local_cloud.vertex.training.rows import Method


@dataclass(frozen=True)
class Order:
    """One training.

    Attributes:
        epochs: passes over the data; None: chosen by the number of examples.
        adapter_size: rank class of the adapter.
        learning_rate_multiplier: factor on the learner's own rate.
        method: of tuning; it decides what the rows look like.
        beta: of preference tuning; None: the learner's default.
        last_checkpoint_only: keep the final weights alone.
        tokens_per_example: an example with more tokens is dropped.
        images_per_example: an example with more images is dropped.
        dropped_share: the job fails when more than this part of its training examples is dropped.
        start_from: file of weights to go on from.
    """

    epochs: int | None
    adapter_size: int
    learning_rate_multiplier: float
    method: Method = "supervised"
    beta: float | None = None
    last_checkpoint_only: bool = False
    tokens_per_example: int | None = None
    images_per_example: int | None = None
    dropped_share: float = 0.1
    start_from: str | None = None


def write_order(directory: Path, order: Order) -> None:
    """Leave the order in a job directory."""
    (directory / ORDER).write_text(json.dumps(asdict(order)))


def read_order(directory: Path) -> Order:
    """Return the order in a job directory."""
    return Order(**json.loads((directory / ORDER).read_text()))
