import json
import re

import pytest
import yaml
from airflow.sdk.exceptions import AirflowException, AirflowFailException
from google.cloud.storage import Bucket
from tests.dataset.lines import DAMAGE

from gemini_tuning.dataset.reports.report import DatasetReport
from gemini_tuning.dataset.upload import UploadedDatasets
from gemini_tuning.operators.dataset import (
    MARKDOWN_KEY,
    REJECTED_REPORT_KEY,
    UploadDatasetOperator,
    ValidateDatasetOperator,
)
from gemini_tuning.operators.smoke import FAILED_REPORT_KEY, SmokeTestOperator
from gemini_tuning.operators.summary import SummariseRunOperator
from gemini_tuning.operators.tuning import TuneModelOperator
from gemini_tuning.smoke.report import SmokeReport
from gemini_tuning.summary import RunSummary

MODEL = "gemini-2.5-flash"
BROKEN_CONNECTION = {"conn_type": "google_cloud_platform", "extra": {"key_path": "/nowhere/key.json", "project": "p"}}


def validate(context, **settings):
    settings = {"train": "train.jsonl", "validation": "validation.jsonl", "base_model": MODEL, **settings}
    return ValidateDatasetOperator(task_id="validate", **settings).execute(context)


def upload(context, cloud, **settings):
    settings = {"report": validate(context), "bucket": cloud.bucket, "prefix": "p", "pipeline": "paint", **settings}
    return UploadDatasetOperator(task_id="upload", **settings).execute(context)


class TestValidate:
    def test_an_accepted_dataset_is_the_result(self, context, dataset):
        report = DatasetReport.from_json(json.loads(json.dumps(validate(context))))
        assert report.accepted
        assert [file.examples for file in report.files] == [9, 1]

    def test_a_rejected_dataset_fails_for_good_and_keeps_its_report(self, context, dataset):
        (dataset / "train.jsonl").write_text('{"contents": []}\n')
        with pytest.raises(AirflowFailException, match=r"train\.jsonl:1: empty list at contents") as caught:
            validate(context)
        assert "Nothing was uploaded or paid for" in str(caught.value)
        assert not DatasetReport.from_json(context["ti"].pushed[REJECTED_REPORT_KEY]).accepted

    def test_the_report_is_a_page_for_people_too(self, context, dataset):
        validate(context)
        page = context["ti"].pushed[MARKDOWN_KEY]
        assert "Dataset accepted" in page
        assert f"Limits of `{MODEL}`" in page

    def test_what_is_looked_for_is_chosen(self, context, dataset):
        twice = (dataset / "train.jsonl").read_text() * 2
        (dataset / "train.jsonl").write_text(twice)
        assert validate(context, checks={})["accepted"]
        with pytest.raises(AirflowFailException, match="duplicate-example"):
            validate(context, checks={"severities": {"duplicate-example": "error"}})

    def test_tokens_are_counted_through_the_connection_where_that_is_chosen(self, context, google, dataset):
        report = DatasetReport.from_json(validate(context, checks={"exact_tokens": True}))
        assert (report.estimate.examples_counted, report.estimate.error_band) == (9, 0)
        assert "counted by the service in every example" in context["ti"].pushed[MARKDOWN_KEY]
        assert DatasetReport.from_json(validate(context)).estimate.examples_counted == 0

    @pytest.mark.parametrize("budget_usd", [0.000001, "0.000001"])
    def test_a_job_over_its_budget_is_not_bought(self, context, dataset, budget_usd):
        with pytest.raises(AirflowFailException, match=r"Nothing was uploaded or paid for.*\[over-budget\]"):
            validate(context, budget_usd=budget_usd)
        assert validate(context, budget_usd=10)["accepted"]

    def test_prompts_of_the_smoke_suite_are_no_training_data(self, context, dataset, monkeypatch):
        suites = dataset / "include" / "smoke_tests"
        suites.mkdir(parents=True)
        test = {"prompt": "Where is the red paint?", "assert": [{"type": "contains", "value": "red"}]}
        (suites / "paint.yaml").write_text(yaml.safe_dump({"tests": [test]}))
        monkeypatch.setattr("gemini_tuning.operators.dataset.include_root", lambda: dataset / "include")
        report = DatasetReport.from_json(validate(context, smoke_suite="paint.yaml"))
        assert [finding.line for finding in report.warnings if finding.code == "smoke-leak"] == [1]

    def test_however_much_is_wrong_the_report_fits_into_xcom(self, context, dataset):
        damaged = b"\n".join(line for line, _, _ in DAMAGE.values() if len(line) < 10_000)
        for name in ("train.jsonl", "validation.jsonl"):
            (dataset / name).write_bytes((damaged + b"\n") * 30)
        with pytest.raises(AirflowFailException):
            validate(context)
        pushed = context["ti"].pushed
        assert len(json.dumps(pushed[REJECTED_REPORT_KEY])) < 200_000
        assert len(pushed[MARKDOWN_KEY]) < 50_000
        report = DatasetReport.from_json(pushed[REJECTED_REPORT_KEY])
        assert report.truncated
        assert report.counts.errors > 30 * 2 * 50
        assert {finding.code for finding in report.errors} <= report.counts.by_code.keys()

    @pytest.mark.parametrize(
        ("settings", "sentence"),
        [
            ({"train": "gone.jsonl"}, "gone.jsonl: no such file"),
            ({"train": ""}, "no dataset is named"),
            ({"base_model": "gemini-1.5-flash-002"}, "was retired on 2025-09-24"),
            ({"hyperparameters": {"adapter_size": 32}}, "adapter size 32 is not supported"),
            ({"hyperparameters": {"epoch": 3}}, "unknown field 'epoch'; did you mean 'epochs'?"),
            ({"smoke_suite": "gone.yaml"}, "gone.yaml does not exist"),
            ({"checks": {"severities": {"crlff": "error"}}}, "did you mean 'crlf'?"),
            ({"budget_usd": "much"}, "budget_usd is 'much'"),
            ({"gcp_conn_id": "nowhere", "train": "gs://b/o.jsonl"}, "no connection 'nowhere'"),
            ({"gcp_conn_id": "nowhere", "checks": {"exact_tokens": True}}, "without exact_tokens they are estimated"),
        ],
    )
    def test_a_users_mistake_is_one_sentence_and_no_retry(self, context, dataset, settings, sentence):
        with pytest.raises(AirflowFailException, match=re.escape(sentence)) as caught:
            validate(context, **settings)
        assert "\n" not in str(caught.value)

    def test_an_object_in_cloud_storage_is_checked_where_it_lies(self, context, google, dataset):
        uri = google.upload("in-place/train.jsonl", (dataset / "train.jsonl").read_bytes())
        report = DatasetReport.from_json(validate(context, train=uri, validation=None))
        local = DatasetReport.from_json(validate(context, validation=None))
        assert report.train.generation is not None
        assert (report.train.sha256, report.train.crc32c) == (local.train.sha256, local.train.crc32c)

    def test_a_missing_object_names_itself(self, context, google, dataset):
        with pytest.raises(AirflowFailException, match=f"gs://{google.bucket}/gone.jsonl: no such object"):
            validate(context, train=f"gs://{google.bucket}/gone.jsonl")


class TestUpload:
    def test_the_objects_hold_the_checked_bytes_under_names_made_of_them(self, context, google, dataset):
        uploaded = UploadedDatasets.from_json(upload(context, google))
        name = f"p/paint/{uploaded.train.sha256}/train.jsonl"
        assert uploaded.train.uri == f"gs://{google.bucket}/{name}"
        blob = google.storage().bucket(google.bucket).get_blob(name)
        assert blob.download_as_bytes() == (dataset / "train.jsonl").read_bytes()
        assert (blob.generation, blob.crc32c) == (uploaded.train.generation, uploaded.train.crc32c)
        assert not uploaded.train.reused

    def test_an_odd_file_name_becomes_one_the_service_takes(self, context, google, dataset):
        (dataset / "größe (neu).json").write_bytes((dataset / "train.jsonl").read_bytes())
        report = validate(context, train="größe (neu).json", validation=None)
        uploaded = UploadedDatasets.from_json(upload(context, google, report=report))
        assert uploaded.train.uri.endswith("/gr__e__neu_.json.jsonl")
        assert google.storage().bucket(google.bucket).get_blob(uploaded.train.uri.split("/", 3)[3])

    def test_the_same_bytes_are_sent_once(self, context, google, dataset):
        first = UploadedDatasets.from_json(upload(context, google))
        second = UploadedDatasets.from_json(upload(context, google))
        assert second.train.reused
        assert second.validation.reused
        assert second.train.generation == first.train.generation

    def test_a_file_that_changed_since_its_check_is_refused(self, context, google, dataset):
        report = validate(context)
        file = dataset / "train.jsonl"
        file.write_text(file.read_text().replace("shelf red-1", "shelf red-2"))
        with pytest.raises(AirflowFailException, match=r"train\.jsonl: changed since it was checked"):
            upload(context, google, report=report)
        objects = google.storage().list_blobs(google.bucket, prefix=f"p/paint/{report['files'][0]['sha256']}")
        assert list(objects) == []

    def test_an_object_somebody_replaced_is_left_alone_and_refused(self, context, google, dataset):
        report = validate(context, validation=None)
        name = f"p/paint/{report['files'][0]['sha256']}/train.jsonl"
        google.upload(name, "somebody else's")
        with pytest.raises(AirflowFailException, match="holds other bytes than its name says"):
            upload(context, google, report=report)
        assert google.storage().bucket(google.bucket).blob(name).download_as_bytes() == b"somebody else's"

    def test_a_wrong_bucket_is_one_sentence(self, context, google, dataset):
        with pytest.raises(AirflowFailException, match="bucket 'no-such-bucket' does not exist"):
            upload(context, google, bucket="no-such-bucket")

    def test_a_large_file_goes_in_chunks_and_arrives_whole(self, context, google, dataset, monkeypatch):
        monkeypatch.setattr("gemini_tuning.dataset.upload.RESUMABLE_CHUNK", 256 * 1024)
        line = (dataset / "train.jsonl").read_text().splitlines()[0]
        text = "\n".join(line.replace("red", f"red{n}") for n in range(5000))
        (dataset / "train.jsonl").write_text(text)
        uploaded = UploadedDatasets.from_json(upload(context, google))
        bucket, _, name = uploaded.train.uri.removeprefix("gs://").partition("/")
        assert google.storage().bucket(bucket).blob(name).download_as_bytes() == text.encode()

    def test_an_object_used_in_place_must_be_the_one_that_was_checked(self, context, google, dataset):
        uri = google.upload("in-place/changing.jsonl", (dataset / "train.jsonl").read_bytes())
        report = validate(context, train=uri, validation=None)
        uploaded = UploadedDatasets.from_json(upload(context, google, report=report))
        assert (uploaded.train.uri, uploaded.train.reused) == (uri, True)
        google.upload("in-place/changing.jsonl", "other")
        with pytest.raises(AirflowFailException, match="changed since it was checked"):
            upload(context, google, report=report)

    def test_bytes_that_somebody_sends_first_are_never_deleted(self, context, google, dataset, monkeypatch):
        """Two runs look, find nothing, and send at once: the slower one keeps its hands off what it finds."""
        report = validate(context, validation=None)
        name = f"p/paint/{report['files'][0]['sha256']}/train.jsonl"
        google.upload(name, "somebody else's")
        look, looks = Bucket.get_blob, []

        def too_early(bucket, *arguments, **options):
            looks.append(1)
            return None if len(looks) == 1 else look(bucket, *arguments, **options)

        monkeypatch.setattr(Bucket, "get_blob", too_early)
        with pytest.raises(AirflowFailException, match="holds other bytes than its name says"):
            upload(context, google, report=report)
        assert google.storage().bucket(google.bucket).blob(name).download_as_bytes() == b"somebody else's"

    def test_no_connection_is_worth_a_retry(self, context, google, dataset, monkeypatch):
        report = validate(context)
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", "http://127.0.0.1:9")
        monkeypatch.setattr("gemini_tuning.dataset.reading.source.RETRY_SECONDS", 0.5)
        with pytest.raises(AirflowException, match="no connection to Google's API") as caught:
            upload(context, google, report=report)
        assert not isinstance(caught.value, AirflowFailException)

    def test_a_key_file_that_is_gone_is_one_sentence(self, context, google, dataset, monkeypatch):
        report = validate(context)
        monkeypatch.setenv("AIRFLOW_CONN_GOOGLE_CLOUD_DEFAULT", json.dumps(BROKEN_CONNECTION))
        with pytest.raises(AirflowFailException, match="'google_cloud_default' holds no usable credentials"):
            upload(context, google, report=report)


def tune(context, google, **settings):
    """Have a model tuned by a task that pokes."""
    settings = {"base_model": MODEL, "pipeline": "paint", "hyperparameters": {"epochs": 12}, **settings}
    return TuneModelOperator(
        task_id="tune",
        datasets=upload(context, google),
        deferrable=False,
        mode="poke",
        poke_interval=0.1,
        timeout=120,
        **settings,
    ).execute(context)


@pytest.fixture
def tuned(context, google, dataset):
    """A job that succeeded, as the sensor returns it."""
    return tune(context, google)


class TestSmoke:
    def run(self, context, include, tuned, *tests):
        (include / "smoke_tests" / "paint.yaml").write_text(yaml.safe_dump({"tests": tests}))
        return SmokeTestOperator(task_id="smoke_test", tuning_job=tuned, suite="paint.yaml").execute(context)

    def test_answers_come_from_training_and_the_report_has_all_of_them(self, context, include, tuned):
        check = {"type": "icontains", "value": "shelf"}
        result = self.run(context, include, tuned, {"prompt": "Where is the red paint?", "assert": [check]})
        report = SmokeReport.from_json(result)
        assert report.passed
        assert report.endpoint == tuned["tuned_model"]["endpoint"]
        assert "shelf" in report.results[0].answer

    def test_without_a_model_there_is_nothing_to_ask(self, context, include):
        with pytest.raises(AirflowFailException, match="the task before was marked without one"):
            self.run(context, include, None, {"prompt": "The blue one?", "assert": [{"type": "equals", "value": "42"}]})

    def test_one_bad_answer_fails_the_run_and_keeps_the_report(self, context, include, tuned, caplog):
        good = {"prompt": "Where is the red paint?", "assert": [{"type": "icontains", "value": "shelf"}]}
        bad = {"description": "asks too much", "prompt": "The blue one?", "assert": [{"type": "equals", "value": "42"}]}
        with pytest.raises(AirflowFailException, match=r"1 of 2 smoke tests passed .* asks too much: equals"):
            self.run(context, include, tuned, good, bad)
        report = SmokeReport.from_json(context["ti"].pushed[FAILED_REPORT_KEY])
        assert [result.passed for result in report.results] == [True, False]
        assert "The blue one?" not in caplog.text

    def test_an_endpoint_that_does_not_answer_yet_is_tried_again(self, context, include, tuned, monkeypatch):
        monkeypatch.setattr("gemini_tuning.smoke.endpoint.ATTEMPTS", 1)
        tuned["tuned_model"]["endpoint"] = tuned["tuned_model"]["endpoint"].rsplit("/", 1)[0] + "/404"
        with pytest.raises(AirflowException, match="HTTP 404") as caught:
            self.run(context, include, tuned, {"prompt": "x", "assert": [{"type": "not-equals", "value": "y"}]})
        assert not isinstance(caught.value, AirflowFailException), "an outage says nothing about the model"

    def test_an_endpoint_is_asked_where_it_serves_and_not_to_think(self, context, include, google, dataset):
        tuned = tune(context, google, base_model="gemini-3.5-flash")
        check = {"type": "not-equals", "value": "y"}
        assert self.run(context, include, tuned, {"prompt": "Where is the red paint?", "assert": [check]})["passed"]
        asked = [r for r in google.requests() if r["path"].endswith(":generateContent")][-1]
        assert "/locations/us/endpoints/" in asked["path"]
        assert "/locations/us-central1/" in tuned["name"]
        thinking = json.loads(asked["body"])["generationConfig"]["thinkingConfig"]
        assert list(thinking.values()) == ["MINIMAL"]

    def test_a_job_without_endpoint_has_nothing_to_ask(self, context, include, tuned):
        tuned["tuned_model"]["endpoint"] = None
        with pytest.raises(AirflowFailException, match="no endpoint"):
            self.run(context, include, tuned, {"prompt": "x", "assert": [{"type": "is-json"}]})

    def summary(self, context, include, google, tuned):
        check = {"type": "icontains", "value": "shelf"}
        smoke = self.run(context, include, tuned, {"prompt": "Where is the red paint?", "assert": [check]})
        return SummariseRunOperator(
            task_id="summary",
            report=validate(context),
            datasets=upload(context, google),
            tuning_job=tuned,
            smoke_report=smoke,
        ).execute(context)

    def test_the_summary_shows_curves_that_fell(self, context, include, dataset, google, tuned):
        summary = self.summary(context, include, google, tuned)
        assert summary["passed"]
        assert summary["training_examples"] == 9
        for curve in ("train_loss", "validation_loss"):
            assert summary[curve]["last"]["value"] < summary[curve]["first"]["value"]
            assert summary[curve]["last"]["step"] > summary[curve]["first"]["step"]
        assert summary["billable_tokens_per_epoch"] > 0
        text = RunSummary.from_json(summary).text()
        assert re.search(r"Tokens per epoch +[\d,]+ estimated, [\d,]+ billable, [+-]\d+\.\d%", text)
        assert "Left out" not in text

    def test_curves_that_cannot_be_read_fail_no_run(self, context, include, dataset, google, tuned):
        tuned["experiment"] += "-gone"
        summary = self.summary(context, include, google, tuned)
        assert summary["passed"]
        assert summary["train_loss"] is None
