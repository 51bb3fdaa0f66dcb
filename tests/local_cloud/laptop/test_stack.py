from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from local_cloud.laptop import StackError, StackSettings, airflow_home, attach, running_stack, start_detached, stop
from local_cloud.laptop.dag_run import DagRun, DemoError, end_abandoned_runs
from local_cloud.laptop.demo import stack_for
from local_cloud.laptop.narrator import Narrator
from local_cloud.laptop.processes import end_marked, marked
from local_cloud.laptop.settings import PROJECT_ROOT
from local_cloud.laptop.state import hold_lock

DAGS = """
import logging, time
from airflow.sdk import dag, task

@dag(dag_id="good", schedule=None)
def good():
    @task
    def validate():
        return {"accepted": True}
    validate()

@dag(dag_id="bad", schedule=None)
def bad():
    @task
    def validate():
        logging.getLogger(__name__).error("train.jsonl:3: wrong role")
        raise ValueError("the dataset is rejected")
    @task
    def submit():
        pass
    validate() >> submit()

@dag(dag_id="endless", schedule=None, max_active_runs=1)
def endless():
    @task
    def validate():
        time.sleep(600)
    validate()

good(), bad(), endless()
"""


@pytest.fixture
def settings(tmp_path: Path) -> StackSettings:
    dags, plugins = tmp_path / "dags", tmp_path / "plugins"
    dags.mkdir()
    plugins.mkdir()
    (dags / "sample.py").write_text(DAGS)
    return StackSettings(
        root=PROJECT_ROOT,
        state_dir=tmp_path / "state",
        dags_folder=dags,
        plugins_folder=plugins,
        buckets=("stack-test",),
    )


def _listening(settings: StackSettings) -> set[str]:
    """The addresses that the stack's processes listen on."""
    return {
        connection.laddr.ip
        for process in marked(str(settings.state_dir))
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }


def test_a_stack_runs_dags_listens_on_loopback_only_and_leaves_nothing(
    settings: StackSettings, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    narrator = Narrator()
    with running_stack(settings) as stack:
        assert _listening(settings) == {"127.0.0.1"}
        assert stat.S_IMODE(settings.env_file.stat().st_mode) == 0o600
        assert httpx.get(f"{stack.airflow_url}/api/v2/dags", trust_env=False).status_code == httpx.codes.UNAUTHORIZED
        assert httpx.get(f"{stack.storage_url}/storage/v1/b/stack-test", trust_env=False).is_success
        assert httpx.get(f"{stack.vertex_url}/_local/counters", trust_env=False).json()["tuning_jobs_created"] == 0

        good = DagRun.trigger(stack, "good")
        assert good.follow(narrator, seconds=120) == "success"
        assert good.xcom("validate") == {"accepted": True}

        bad = DagRun.trigger(stack, "bad")
        assert bad.follow(narrator, seconds=120) == "failed"
        failure = bad.failure()
        assert (failure.stage, failure.reason) == ("validate", "the dataset is rejected")
        assert failure.details == ("train.jsonl:3: wrong role",)
        assert "the dataset is rejected" in failure.log.read_text()

        endless = DagRun.trigger(stack, "endless")
        with pytest.raises(DemoError, match="has not ended after 1 s"):
            endless.follow(narrator, seconds=1)
        assert end_abandoned_runs(stack, "endless") == [endless.run_id]
        assert endless.follow(narrator, seconds=120) == "failed"

        with pytest.raises(StackError, match="another stack runs in"), running_stack(settings):
            pass
        with monkeypatch.context() as both_started_at_once:
            both_started_at_once.setattr("local_cloud.laptop.stack.is_locked", lambda _: False)
            with pytest.raises(StackError, match="another stack runs in"), running_stack(settings):
                pass
        stack.check()
        os.kill(stack.state.pids["scheduler"], 9)
        with pytest.raises(StackError, match=r"the scheduler stopped \(signal SIGKILL\).*scheduler\.log"):
            DagRun.trigger(stack, "endless").follow(narrator, seconds=120)
    assert marked(str(settings.state_dir)) == []
    said = capsys.readouterr().out
    assert "validate     running" in said
    assert "validate     FAILED in" in said


@pytest.mark.parametrize("start", [running_stack, start_detached])
def test_a_stack_that_cannot_start_says_which_part_and_leaves_nothing(tmp_path: Path, start: object) -> None:
    settings = StackSettings(root=PROJECT_ROOT, state_dir=tmp_path, cloud_options=("--no-such-option",))
    with pytest.raises(
        StackError, match=r"the local-cloud stopped \(exit status 2\).*--no-such-option.*local-cloud\.log"
    ):
        _enter(settings, start)
    assert marked(str(tmp_path)) == []
    assert attach(settings) is None


def test_stopping_what_is_not_running_does_no_harm(tmp_path: Path) -> None:
    settings = StackSettings(root=PROJECT_ROOT, state_dir=tmp_path)
    assert not stop(settings)
    assert not stop(settings)


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[StackSettings]:
    """Settings of a stack whose supervisor is real and whose components only sleep."""
    monkeypatch.setattr("local_cloud.laptop.stack.SUPERVISE", (str(Path(__file__).with_name("supervised.py")), "whole"))
    settings = StackSettings(root=tmp_path, state_dir=tmp_path / "state")
    airflow_home.prepare(settings, port=1)
    yield settings
    end_marked(str(settings.state_dir), grace=0)


def test_a_detached_stack_is_found_and_stopped_from_elsewhere(stand_in: StackSettings) -> None:
    stack = start_detached(stand_in)
    found = attach(stand_in)
    assert found
    assert found.state == stack.state
    assert found.state.detached
    assert stop(stand_in)
    assert marked(str(stand_in.state_dir)) == []
    assert attach(stand_in) is None
    with pytest.raises(StackError, match="the stack was stopped"):
        found.check()


def test_the_demo_uses_the_stack_that_runs_already_and_leaves_it(
    stand_in: StackSettings, capsys: pytest.CaptureFixture[str]
) -> None:
    started = start_detached(stand_in)
    with stack_for(stand_in, "tune_support_replies", Narrator()) as stack:
        assert stack.state.supervisor == started.state.supervisor
    assert attach(stand_in)
    assert "Using the stack that is running already" in capsys.readouterr().out


def test_the_demo_does_not_use_another_demos_stack(stand_in: StackSettings) -> None:
    with (
        running_stack(stand_in),
        pytest.raises(StackError, match="another stack runs in"),
        stack_for(stand_in, "tune_support_replies", Narrator()),
    ):
        pass
    assert marked(str(stand_in.state_dir)) == []


def test_a_killed_supervisor_is_noticed_and_its_left_overs_are_ended(stand_in: StackSettings) -> None:
    with running_stack(stand_in) as stack:
        os.kill(stack.state.supervisor, 9)
        psutil.wait_procs([psutil.Process(stack.state.supervisor)], timeout=30)
        with pytest.raises(StackError, match="ended from outside"):
            stack.check()
    assert marked(str(stand_in.state_dir)) == []


def test_a_second_start_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    settings = StackSettings(root=PROJECT_ROOT, state_dir=tmp_path)
    lock = hold_lock(settings.lock_file)
    assert lock
    with lock, pytest.raises(StackError, match="make down"):
        start_detached(settings)


def _enter(settings: StackSettings, start: object) -> None:
    if start is running_stack:
        with running_stack(settings):
            pass
    else:
        start_detached(settings)
