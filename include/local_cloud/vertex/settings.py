"""What the local Vertex AI is started with."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from local_cloud.vertex.control.script import Behaviour

if TYPE_CHECKING:
    from pathlib import Path


@dataclass
class Settings:
    """Start-up settings.

    Attributes:
        state_dir: directory of the job store, datasets and weights.
        storage_url: base URL of the Cloud Storage server that datasets are read from.
        models_file: YAML table of base models.
        training_processes: how many jobs train at the same time on this machine; the others are
            WAITING_FOR_CAPACITY, first come, first served.
        scripted: fields of the behaviour that the script sets.
        flags: fields of the behaviour that were given as start-up flags.
        behaviour: everything that may change while the service runs. Read it anew each time.

    Raises:
        ValidationError: there is no such behaviour.
    """

    state_dir: Path
    storage_url: str
    models_file: Path
    training_processes: int = 2
    scripted: dict[str, Any] = field(default_factory=dict)
    flags: dict[str, Any] = field(default_factory=dict)
    behaviour: Behaviour = field(init=False)

    def __post_init__(self) -> None:
        self.behaviour = self.behaviour_with({})

    def behaviour_with(self, changes: dict[str, Any]) -> Behaviour:
        """Return the behaviour to start with after a run in which ``changes`` were made: flags overrule them."""
        return Behaviour.model_validate({**self.scripted, **changes, **self.flags})

    @property
    def store_file(self) -> Path:
        """The job store."""
        return self.state_dir / "vertex.sqlite"

    @property
    def jobs_directory(self) -> Path:
        """Where each job has a directory."""
        return self.state_dir / "jobs"

    def job_directory(self, job_id: str) -> Path:
        """Return the directory of a job's dataset and weights."""
        return self.jobs_directory / job_id
