"""What the demo says about a job, a rejection and its own start; the way through a real Airflow is tested elsewhere."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gemini_tuning.tuning.metrics import TRAIN_LOSS, VALIDATION_LOSS, Metrics, Point
from gemini_tuning.tuning.spec import TuningJob
from gemini_tuning.tuning.states import JobState
from local_cloud.laptop.cli import main
from local_cloud.laptop.dag_run import Failure
from local_cloud.laptop.demo import rejection_text
from local_cloud.laptop.job_watch import describe_curves, describe_state
from local_cloud.laptop.narrator import Narrator
from local_cloud.laptop.services import healthy_since
from local_cloud.storage import free_port

NAME = "projects/1/locations/us-central1/tuningJobs/2"


def test_a_running_job_is_told_with_what_it_is_busy_with() -> None:
    job = TuningJob(name=NAME, state=JobState.RUNNING, detail_state="TUNING_JOB_STATE_PROCESSING_DATASET")
    assert describe_state(job) == "tuning job RUNNING, processing dataset"


def test_an_ended_job_is_told_by_its_state_alone() -> None:
    job = TuningJob(name=NAME, state=JobState.SUCCEEDED, detail_state="TUNING_JOB_STATE_TUNING")
    assert describe_state(job) == "tuning job SUCCEEDED"


def test_the_curves_are_told_by_epoch_step_and_both_losses() -> None:
    metrics = Metrics(
        series={
            TRAIN_LOSS: (Point(step=1, value=2.0), Point(step=12, value=0.51234)),
            VALIDATION_LOSS: (Point(step=1, value=3.0), Point(step=10, value=0.75)),
        }
    )
    job = TuningJob(name=NAME, state=JobState.RUNNING, completed_epochs=1)
    assert describe_curves(job, metrics) == ("1 epoch done, step 12, train loss 0.512, validation loss 0.750 (step 10)")


def test_without_validation_data_only_the_train_loss_is_told() -> None:
    metrics = Metrics(series={TRAIN_LOSS: (Point(step=3, value=1.0),)})
    assert describe_curves(TuningJob(name=NAME, state=JobState.RUNNING), metrics) == "step 3, train loss 1.000"


def test_a_rejection_shows_its_reason_once_and_the_first_of_many_details() -> None:
    details = ("rejected: 30 errors", *(f"train.jsonl:{line}: wrong" for line in range(1, 31)))
    text = rejection_text(Failure("validate", "rejected: 30 errors", details, Path("/logs/attempt=1.log")))
    assert text.count("rejected: 30 errors") == 1
    assert "train.jsonl:20: wrong" in text
    assert "train.jsonl:21: wrong" not in text
    assert "10 more in /logs/attempt=1.log" in text


def test_events_carry_their_seconds_and_stage() -> None:
    out = io.StringIO()
    narrator = Narrator(out)
    narrator.title("Triggering")
    narrator.event("running", stage="validate")
    _, title, event = out.getvalue().splitlines()
    assert title == "Triggering"
    assert event.split() == ["0.0", "s", "validate", "running"]


class TestHealthySince:
    BEGAN = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)

    def _report(self, beat: datetime, status: str = "healthy") -> dict[str, dict[str, str]]:
        names = ("scheduler", "triggerer", "dag_processor")
        return {name: {"status": status, f"latest_{name}_heartbeat": beat.isoformat()} for name in names}

    def test_a_heartbeat_of_this_start_counts(self) -> None:
        assert healthy_since(self._report(self.BEGAN + timedelta(seconds=1)), self.BEGAN)

    def test_a_heartbeat_of_the_stack_before_does_not(self) -> None:
        assert not healthy_since(self._report(self.BEGAN - timedelta(seconds=1)), self.BEGAN)

    def test_each_component_has_to_be_healthy(self) -> None:
        for name in ("scheduler", "triggerer", "dag_processor"):
            report = self._report(self.BEGAN + timedelta(seconds=1))
            report[name]["status"] = "unhealthy"
            assert not healthy_since(report, self.BEGAN)
            del report[name]
            assert not healthy_since(report, self.BEGAN)


def test_free_ports_differ_while_they_are_taken() -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", free_port()))
        assert free_port() != taken.getsockname()[1]


@pytest.mark.parametrize("arguments", [[], ["no-such-command"], ["demo", "--conf", "{not JSON"]])
def test_a_wrong_command_line_is_exit_status_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    assert exit_.value.code == 2
    assert "usage:" in capsys.readouterr().err
