"""What lies in a job's directory, as the server and the training process both need to know it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

ORDER, TRAINING, VALIDATION = "order.json", "train.jsonl", "validation.jsonl"
SAMPLE, HELD_OUT, PREPARED = "sample.jsonl", "held_out.jsonl", "prepared.json"
"""What the ``prepare`` stage leaves for the ``train`` stage; the last one is written last."""


def remove_dataset(directory: Path) -> None:
    """Remove the dataset of a job that has ended: nobody reads it again, and it may be large."""
    for name in (TRAINING, VALIDATION):
        (directory / name).unlink(missing_ok=True)


def weights_file(directory: Path, checkpoint: str) -> Path:
    """Return where a job directory keeps the weights of a checkpoint."""
    return directory / f"checkpoint-{checkpoint}.npz"
