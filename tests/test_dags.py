"""Every Dag as Airflow's own parser sees it."""

import shutil

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk.exceptions import ParamValidationError
from tests.conftest import PROJECT

from gemini_tuning.on_demand import pipeline_of_form
from gemini_tuning.settings import INCLUDE_VARIABLE, REAP_VARIABLE, WAIT_MODE_VARIABLE

REAPER = "reap_tuning_jobs"
STAGES = ["validate", "upload", "tune", "smoke_test", "summary"]


def parse():
    return DagBag(PROJECT / "dags", bundle_name="dags-folder")


@pytest.fixture(scope="module")
def bag():
    return parse()


def tuning(bag):
    return {dag_id: dag for dag_id, dag in bag.dags.items() if dag_id != REAPER}


def test_every_dag_file_imports_without_error(bag):
    assert bag.import_errors == {}
    assert {"tune_support_replies", "tune_on_demand"} <= set(bag.dags)


def test_every_pipeline_is_a_dag_with_all_stages_in_a_row(bag):
    for dag_id, dag in tuning(bag).items():
        if dag_id != "tune_on_demand":
            assert [task.task_id for task in dag.topological_sort()] == STAGES


def test_every_dag_is_documented_owned_and_bounded(bag):
    for dag in bag.dags.values():
        assert dag.doc_md
        assert dag.tags
        assert dag.owner not in {"", "airflow"}
        assert dag.catchup is False
        assert dag.max_active_runs <= 4


def test_every_stage_is_retried(bag):
    for dag in bag.dags.values():
        for task in dag.tasks:
            assert task.retries == {"configure": 0, "tune": 5}.get(task.task_id, 2), task.task_id


def test_tuning_takes_its_turn_in_a_pool(bag):
    for dag in tuning(bag).values():
        assert dag.get_task("tune").pool == "vertex_tuning"


@pytest.mark.parametrize("form", ["tune_on_demand", REAPER])
def test_every_field_of_a_form_is_explained_and_may_be_sent_as_it_stands(bag, form):
    params = bag.dags[form].params
    for name in params:
        field = params.get_param(name)
        assert field.description, name
        assert field.schema["section"], name
        assert field.schema["title"], name
        if field.schema["type"] == "string":
            assert field.value != "", f"{name}: an empty required text disables the trigger button"


def test_waiting_is_deferred_or_rescheduled_as_the_pipeline_says(include):
    path = include / "pipelines" / "support_replies.yaml"
    path.write_text(path.read_text().replace("wait:\n", "wait:\n  mode: reschedule\n"))
    waiting = parse().dags["tune_support_replies"].get_task("tune")
    assert (waiting.deferrable, waiting.mode) == (False, "reschedule")


def test_a_broken_pipeline_is_one_clear_import_error_of_its_own_file(include):
    folder = include / "pipelines"
    (folder / "broken.yaml").write_text((folder / "support_replies.yaml").read_text().replace("bucket:", "buckett:"))
    bag = parse()
    assert "tune_support_replies" in bag.dags
    ((file, error),) = bag.import_errors.items()
    assert file.endswith("dags/broken_pipelines.py"), "an import error takes down every Dag of its file"
    assert "broken.yaml" in error
    assert "unknown field 'buckett'; did you mean 'bucket'?" in error


def test_a_schedule_and_notifications_reach_the_dag(include):
    path = include / "pipelines" / "support_replies.yaml"
    path.write_text(path.read_text() + "schedule: 0 6 * * 1\nnotifications: {email: [a@b.c], when: [failure]}\n")
    dag = parse().dags["tune_support_replies"]
    assert dag.schedule == "0 6 * * 1"
    assert dag.on_failure_callback.to == ["a@b.c"]
    assert dag.on_success_callback is None


def test_an_installation_may_wait_without_its_triggerer(include, monkeypatch):
    monkeypatch.setenv(WAIT_MODE_VARIABLE, "reschedule")
    for dag in tuning(parse()).values():
        assert dag.get_task("tune").deferrable is False


def test_a_schedule_starts_with_its_next_run(include):
    path = include / "pipelines" / "support_replies.yaml"
    path.write_text(path.read_text() + 'schedule: "@daily"\n')
    dag = parse().dags["tune_support_replies"]
    assert dag.start_date is None
    assert all(task.start_date is None for task in dag.tasks)


def test_the_form_as_it_stands_becomes_a_pipeline_once_its_data_is_named(bag):
    form = bag.dags["tune_on_demand"].params.dump() | {"train": "support_replies/train.jsonl"}
    pipeline = pipeline_of_form(form)
    assert pipeline.bucket == "gemini-tuning-demo"
    assert pipeline.hyperparameters.epochs is None


def test_nothing_is_bought_by_one_click_on_the_form(bag):
    with pytest.raises(ParamValidationError, match="train"):
        bag.dags["tune_on_demand"].params.validate()


def test_an_installation_without_suites_still_parses(include):
    shutil.rmtree(include / "smoke_tests")
    assert parse().import_errors == {}


def test_the_include_folder_can_lie_elsewhere(include, monkeypatch):
    for path in (include / "pipelines").iterdir():
        path.unlink()
    monkeypatch.setenv(INCLUDE_VARIABLE, str(include))
    assert set(parse().dags) == {"tune_on_demand", REAPER}


class TestReaping:
    def test_it_looks_wherever_a_pipeline_buys_and_asks_for_all_of_them(self, include):
        path = include / "pipelines" / "support_replies.yaml"
        other = path.read_text().replace("name: support_replies", "name: other\nproject: p")
        other = other.replace("location: us-central1", "location: europe-west4")
        (include / "pipelines" / "other.yaml").write_text(other)
        dag = parse().dags[REAPER]
        assert dag.get_task("reap").tasks == ["tune_on_demand", "tune_other", "tune_support_replies"]
        assert dag.params["places"] == [
            {"gcp_conn_id": "google_cloud_default", "project": "p", "location": "europe-west4"},
            {"gcp_conn_id": "google_cloud_default", "project": None, "location": "us-central1"},
        ]

    @pytest.mark.parametrize(("word", "dry"), [(None, True), ("", True), ("report", True), ("cancel", False)])
    def test_scheduled_runs_cancel_only_where_the_installation_says_so(self, monkeypatch, word, dry):
        if word is not None:
            monkeypatch.setenv(REAP_VARIABLE, word)
        dag = parse().dags[REAPER]
        assert dag.params["dry_run"] is dry
        assert dag.schedule == "@hourly"

    def test_another_word_is_an_import_error_of_its_own_file(self, monkeypatch):
        monkeypatch.setenv(REAP_VARIABLE, "yes")
        ((file, error),) = parse().import_errors.items()
        assert file.endswith("dags/reap_tuning_jobs.py")
        assert "GEMINI_TUNING_REAP is 'yes'; write report or cancel." in error

    def test_dags_of_ones_own_are_named_in_one_of_two_ways(self, bag):
        params = bag.dags[REAPER].params
        params["also_ask"] = ["my_dag", "my.dag:group.tune"]
        params.validate()
        with pytest.raises(ParamValidationError, match="my dag"):
            params["also_ask"] = ["my dag"]
