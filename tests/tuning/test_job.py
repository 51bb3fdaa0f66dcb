import pytest

from gemini_tuning.errors import ConfigError, TuningJobFailedError
from gemini_tuning.tuning.service import check_job_name
from gemini_tuning.tuning.spec import (
    LABEL_PATTERN,
    ServiceError,
    TunedModel,
    TuningJob,
    TuningJobSpec,
    as_label,
    location_of,
)
from gemini_tuning.tuning.states import JobState
from gemini_tuning.tuning.wait import Look, judge, require_success

NAME = "projects/7/locations/us-central1/tuningJobs/9"


def job(state, **fields):
    return TuningJob(name=NAME, state=state, **fields)


class TestStates:
    @pytest.mark.parametrize("state", ["SUCCEEDED", "FAILED", "CANCELLED", "EXPIRED", "PARTIALLY_SUCCEEDED"])
    def test_these_end_a_wait(self, state):
        assert JobState[state].ended
        assert judge(job(JobState[state]), now=100, deadline=50) is Look.ENDED

    @pytest.mark.parametrize(
        "state", ["UNSPECIFIED", "QUEUED", "PENDING", "RUNNING", "CANCELLING", "PAUSED", "UPDATING"]
    )
    def test_these_go_on_until_the_deadline(self, state):
        assert judge(job(JobState[state]), now=10, deadline=50) is Look.WAIT
        assert judge(job(JobState[state]), now=50, deadline=50) is Look.TIMED_OUT

    def test_a_state_of_the_future_goes_on(self):
        assert not JobState("JOB_STATE_ENCHANTED").ended


class TestOutcome:
    def test_success_is_passed_on(self):
        assert require_success(job(JobState.SUCCEEDED)).state is JobState.SUCCEEDED

    @pytest.mark.parametrize("state", [s for s in JobState if s.ended and s is not JobState.SUCCEEDED])
    def test_every_other_end_fails_with_state_code_message_and_link(self, state):
        failed = job(state, error=ServiceError(code=13, message="Failed to create endpoint."))
        with pytest.raises(TuningJobFailedError) as caught:
            require_success(failed)
        sentence = str(caught.value)
        assert state.short in sentence
        assert "code 13, Failed to create endpoint." in sentence
        assert "https://console.cloud.google.com/" in sentence

    def test_a_model_without_endpoint_is_mentioned(self):
        failed = job(JobState.FAILED, tuned_model=TunedModel(model="projects/7/locations/l/models/3@1"))
        assert "models/3@1 exists, but no endpoint" in failed.outcome()

    def test_a_job_survives_json(self):
        ended = job(JobState.FAILED, error=ServiceError(code=3, message="x"), create_time="2026-01-01T00:00:00Z")
        assert TuningJob.from_json(ended.to_json()) == ended


class TestPurchaseKey:
    SPEC = TuningJobSpec(base_model="m", training_dataset_uri="gs://b/a", epochs=3, labels={"a": "b"})

    def key(self, spec=SPEC, **other):
        bought = {"project": "p", "location": "l", "training_sha256": "t", "validation_sha256": None, **other}
        return spec.purchase_key(**bought)

    def test_names_are_not_bought(self):
        renamed = self.SPEC.model_copy(
            update={"tuned_model_display_name": "x", "labels": {}, "training_dataset_uri": "gs://c/d"}
        )
        assert self.key(renamed) == self.key()

    @pytest.mark.parametrize(
        "change", [{"epochs": 4}, {"adapter_size": 4}, {"learning_rate_multiplier": 2.0}, {"base_model": "n"}]
    )
    def test_hyperparameters_and_model_are(self, change):
        assert self.key(self.SPEC.model_copy(update=change)) != self.key()

    @pytest.mark.parametrize("change", [{"project": "q"}, {"location": "k"}, {"training_sha256": "u"}])
    def test_place_and_bytes_are(self, change):
        assert self.key(**change) != self.key()

    def test_it_fits_a_label(self):
        assert LABEL_PATTERN.fullmatch(self.key())


@pytest.mark.parametrize("text", ["manual__2026-11-22T10:00:00+00:00", "ÄÖ x", "a" * 300, ""])
def test_any_text_becomes_a_label(text):
    assert LABEL_PATTERN.fullmatch(as_label(text))


def test_the_location_is_the_names_own():
    assert location_of("projects/1/locations/eu/endpoints/3") == "eu"
    with pytest.raises(ValueError, match="full resource name"):
        location_of("endpoints/3")


@pytest.mark.parametrize(
    "name", ["9", "tuningJobs/9", "projects/p/locations/l/jobs/9", "projects//locations/l/tuningJobs/9"]
)
def test_short_job_ids_are_refused(name):
    with pytest.raises(ConfigError, match="projects/P/locations/L/tuningJobs/ID"):
        check_job_name(name)
