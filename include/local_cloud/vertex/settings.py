"""What the local Vertex AI is started with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Settings:
    """Start-up settings.

    Attributes:
        state_dir: directory of the job store, datasets and weights.
        storage_url: base URL of the Cloud Storage server that datasets are read from.
        models_file: YAML table of base models.
        pending_seconds: how long a new job stays PENDING.
        step_seconds: least time a training step takes; slows a small job down to a watchable pace.
        concurrent_jobs: how many jobs train at the same time; the others wait as PENDING, first come, first served.
    """

    state_dir: Path
    storage_url: str
    models_file: Path
    pending_seconds: float = 1.0
    step_seconds: float = 0.0
    concurrent_jobs: int = 2
