"""Whole runs through a real scheduler, triggerer and API server, judged by what the services saw."""

from __future__ import annotations

import json
import re
import shutil

import httpx
import pytest
from tests.conftest import PROJECT
from tests.end_to_end.runs import RUN_SECONDS, Run
from tests.local_cloud.services import wait_until

from gemini_tuning.settings import INCLUDE_VARIABLE
from local_cloud.credentials import write_service_account
from local_cloud.laptop.airflow_api import AirflowApiError
from local_cloud.laptop.settings import StackSettings
from local_cloud.laptop.stack import running_stack

PIPELINE = "tune_support_replies"
BUCKET = "gemini-tuning-demo"


def refused_connection(key_path):
    """A connection whose key is good and whose token server is not there."""
    write_service_account(key_path, project="local-dev", token_uri="http://127.0.0.1:9/token")
    return {"conn_type": "google_cloud_platform", "extra": {"key_path": str(key_path), "project": "local-dev"}}


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    """The whole of Airflow on the project's data, plus a pipeline with a retired model and a broken one."""
    folder = tmp_path_factory.mktemp("stack")
    include = folder / "include"
    shutil.copytree(PROJECT / "include", include, ignore=shutil.ignore_patterns("local_cloud"))
    sample = (include / "pipelines" / "support_replies.yaml").read_text()
    for name, old, new in (
        ("retired", "base_model: gemini-2.5-flash", "base_model: gemini-1.5-flash-002"),
        ("empty", "train: support_replies/train.jsonl", "train: empty.jsonl"),
        ("broken", "bucket:", "buckett:"),
        ("rescheduled", "wait:\n", "force_new: true\nwait:\n  mode: reschedule\n"),
    ):
        text = sample.replace("name: support_replies", f"name: {name}").replace(old, new)
        (include / "pipelines" / f"{name}.yaml").write_text(text)
    (include / "datasets" / "empty.jsonl").touch()
    settings = StackSettings(
        root=PROJECT,
        state_dir=folder / "state",
        buckets=(BUCKET,),
        extra_env={
            INCLUDE_VARIABLE: str(include),
            "AIRFLOW_CONN_REFUSED": json.dumps(refused_connection(folder / "key.json")),
        },
    )
    with running_stack(settings) as stack:
        yield stack


def requests(stack):
    return httpx.get(f"{stack.vertex_url}/_local/requests", trust_env=False).json()


def jobs_created(stack):
    return httpx.get(f"{stack.vertex_url}/_local/counters", trust_env=False).json()["tuning_jobs_created"]


def test_the_main_job_runs_from_end_to_end(stack):
    before = jobs_created(stack)
    run = Run(stack, PIPELINE)
    assert run.wait() == "success", {task: run.errors(task) for task, state in run.tasks().items() if state == "failed"}
    assert set(run.tasks().values()) == {"success"}

    job = run.result("tune")
    assert jobs_created(stack) == before + 1
    assert job["state"] == "JOB_STATE_SUCCEEDED"
    assert "Pausing task as DEFERRED" in json.dumps(run.log("tune"))

    report, uploaded, smoke = run.result("validate"), run.result("upload"), run.result("smoke_test")
    assert report["accepted"]
    path = f"datasets/support_replies/{report['files'][0]['sha256']}/train.jsonl"
    assert uploaded["train"]["uri"] == f"gs://{BUCKET}/{path}"
    stored = httpx.get(
        f"{stack.storage_url}/storage/v1/b/{BUCKET}/o/{path.replace('/', '%2F')}?alt=media", trust_env=False
    )
    assert stored.content == (PROJECT / "include/datasets/support_replies/train.jsonl").read_bytes()

    asked = [r for r in requests(stack) if r["path"].endswith(f"{job['tuned_model']['endpoint']}:generateContent")]
    assert len(asked) == len(smoke["results"])
    assert smoke["passed"]

    summary = run.result("summary")
    assert summary["passed"]
    assert summary["purchase"] == "attempt 1"
    for curve in ("train_loss", "validation_loss"):
        assert summary[curve]["last"]["value"] < summary[curve]["first"]["value"] / 2
    links = stack.api.get(f"{run.path}/taskInstances/tune/links")["extra_links"]
    assert links["Vertex AI tuning job"] == summary["console_url"]

    again = Run(stack, PIPELINE)
    assert again.wait() == "success"
    assert jobs_created(stack) == before + 1
    assert again.result("tune")["name"] == job["name"]
    assert re.fullmatch(r"none: already tuned on .*, not paid for again", again.result("summary")["purchase"])


def test_waiting_by_rescheduling_ends_the_same(stack):
    run = Run(stack, "tune_rescheduled")
    assert run.wait() == "success", {task: run.errors(task) for task, state in run.tasks().items() if state == "failed"}
    log = json.dumps(run.log("tune"))
    assert "Rescheduling task" in log
    assert "DEFERRED" not in log
    assert run.result("tune")["state"] == "JOB_STATE_SUCCEEDED"


def on_demand(**changes):
    """Fields of the trigger form: a good run but for the changes."""
    return {
        "train": "support_replies/train.jsonl",
        "validation": "support_replies/validation.jsonl",
        "base_model": "gemini-2.5-flash",
        "bucket": BUCKET,
        "epochs": 1,
        **changes,
    }


def test_the_form_leads_to_a_tuned_model_too(stack):
    run = Run(stack, FORM, on_demand(epochs=6, adapter_size=4, tuned_model_display_name="by hand"))
    assert run.wait() == "success", {task: run.errors(task) for task, state in run.tasks().items() if state == "failed"}
    job = run.result("tune")
    assert job["tuned_model_display_name"] == "by hand"
    assert job["labels"]["gemini-tuning-pipeline"] == "by_hand"
    assert run.result("summary")["passed"]


FORM = "tune_on_demand"
FAULTS = {
    "empty file": ("tune_empty", None, "validate", "empty.jsonl: the file is empty"),
    "retired model": ("tune_retired", None, "validate", "'gemini-1.5-flash-002' was retired on 2025-09-24"),
    "missing file": (FORM, {"train": "gone.jsonl"}, "validate", "gone.jsonl: no such file"),
    "rejected dataset": (FORM, {"train": "support_replies_broken/train.jsonl"}, "validate", "Dataset rejected"),
    "over budget": (FORM, {"budget_usd": 0.01}, "validate", "[over-budget]"),
    "outside the data root": (FORM, {"train": "../models.yaml"}, "validate", "outside the data root"),
    "wrong bucket": (FORM, {"bucket": "no-such-bucket"}, "upload", "bucket 'no-such-bucket' does not exist"),
    "no connection": (FORM, {"gcp_conn_id": "nowhere"}, "upload", "no connection 'nowhere'"),
    "unsupported size": (FORM, {"base_model": "gemini-2.5-pro", "adapter_size": 32}, "validate", "adapter size 32"),
}


@pytest.fixture(scope="module")
def faulty_runs(stack):
    """Every faulty run, started together, with what they created."""
    before = jobs_created(stack)
    runs = {
        name: Run(stack, dag_id, on_demand(**changes) if changes else None)
        for name, (dag_id, changes, _, _) in FAULTS.items()
    }
    states = {name: run.wait() for name, run in runs.items()}
    return runs, states, jobs_created(stack) - before


@pytest.mark.parametrize("name", FAULTS)
def test_a_users_mistake_is_one_sentence_in_the_log_of_a_failed_task(faulty_runs, name):
    _, _, stage, sentence = FAULTS[name]
    runs, states, created = faulty_runs
    assert states[name] == "failed"
    assert runs[name].tasks()[stage] == "failed"
    assert runs[name].tasks()["tune"] == "upstream_failed"
    assert [event for event in runs[name].errors(stage) if sentence in event]
    assert created == 0


def test_a_refused_connection_is_one_sentence_and_tried_again(stack):
    before = jobs_created(stack)
    run = Run(stack, FORM, on_demand(gcp_conn_id="refused"))
    wait_until(lambda: run.tasks().get("upload") == "up_for_retry", RUN_SECONDS, "the upload to be tried again")
    assert [event for event in run.errors("upload") if "no connection to Google's API" in event]
    stack.api.patch(run.path, {"state": "failed"})
    assert jobs_created(stack) == before


def test_the_form_offers_no_retired_model(stack):
    with pytest.raises(AirflowApiError, match=r"'gemini-1.5-pro-002' is not one of"):
        Run(stack, FORM, on_demand(base_model="gemini-1.5-pro-002"))


def test_a_broken_pipeline_is_one_import_error_and_takes_no_other_down(stack):
    (error,) = stack.api.get("/importErrors")["import_errors"]
    assert "broken.yaml: " in error["stack_trace"]
    assert "unknown field 'buckett'; did you mean 'bucket'?" in error["stack_trace"]
    dags = {dag["dag_id"]: dag for dag in stack.api.get("/dags", limit=100)["dags"]}
    assert {"tune_support_replies", "tune_retired", "tune_on_demand"} <= set(dags)
    assert "tune_broken" not in dags
