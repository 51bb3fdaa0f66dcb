"""Processes that die while they buy, and two that buy at once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from tests.tuning.shop import Died, Memory, dies_at

import gemini_tuning
from gemini_tuning.settings import REHEARSAL_VARIABLE
from gemini_tuning.tuning.marks import Mark
from gemini_tuning.tuning.purchase import How, Patience
from gemini_tuning.tuning.states import JobState

PURCHASE_MARKS = [mark for mark in Mark if mark not in {Mark.BEFORE_CANCEL, Mark.AFTER_CANCEL}]


class TestCrashes:
    @pytest.mark.parametrize("mark", PURCHASE_MARKS)
    def test_the_next_try_ends_with_the_one_job(self, shop, mark):
        memory = Memory()
        with pytest.raises(Died):
            shop.buy(memory, reached=dies_at(mark))
        purchase = shop.buy(memory, claim="2")
        (job,) = shop.jobs()
        assert purchase.job.name == job["name"]
        assert purchase.own

    @pytest.mark.parametrize("mark", PURCHASE_MARKS)
    def test_so_does_another_run_that_looks_meanwhile(self, shop, mark):
        """It may buy before it can see the first one's job: then the later of the two is cancelled."""
        memory = Memory()
        with pytest.raises(Died):
            shop.buy(memory, reached=dies_at(mark))
        other = shop.buy(Memory(), "another")
        mine = shop.buy(memory, claim="2")
        other = shop.buy(Memory(), "another", claim="2") if other.job.name != mine.job.name else other
        assert mine.job.name == other.job.name
        assert shop.states().count("PENDING") == 1
        assert set(shop.states()) <= {"PENDING", "CANCELLED"}

    @pytest.mark.parametrize("mark", [Mark.BEFORE_CANCEL, Mark.AFTER_CANCEL])
    def test_a_crash_around_the_cancelling_leaves_no_second_job(self, shop, mark):
        earliest = shop.plant("PENDING", createTime="2026-11-12T01:00:00Z")
        shop.plant("PENDING", createTime="2026-11-12T02:00:00Z")
        memory = Memory()
        with pytest.raises(Died):
            shop.buy(memory, reached=dies_at(mark))
        assert shop.buy(memory, claim="2").job.name == earliest
        assert shop.states() == ["CANCELLED", "PENDING"]

    @pytest.mark.parametrize("mark", [Mark.AFTER_INTENT, Mark.AFTER_REQUEST, Mark.AFTER_NAME])
    def test_a_real_process_dies_once_where_the_rehearsal_says(self, shop, tmp_path, mark):
        flag = tmp_path / "a run" / mark
        flag.parent.mkdir()
        flag.touch()
        code = (
            "import json, os, pathlib, sys\n"
            "from tests.tuning.shop import *\n"
            "class File(Memory):\n"
            "    def set(self, name, value):\n"
            "        super().set(name, value)\n"
            "        path.write_text(json.dumps(self))\n"
            "path, order = pathlib.Path(sys.argv[1]), Order.from_json(json.loads(sys.argv[2]))\n"
            "from google.oauth2.service_account import Credentials\n"
            "credentials = Credentials.from_service_account_file(os.environ['GOOGLE_APPLICATION_CREDENTIALS'],"
            " scopes=['https://www.googleapis.com/auth/cloud-platform'])\n"
            "service = TuningService(vertex_client(credentials, sys.argv[3], 'us-central1'))\n"
            "memory = File(json.loads(path.read_text()) if path.exists() else {})\n"
            "print(Buyer(service, memory, PATIENCE).buy(order).job.name)\n"
        )
        project = Path(gemini_tuning.__file__).parents[2]
        environment = {
            **os.environ,
            REHEARSAL_VARIABLE: str(tmp_path),
            "AIRFLOW_CTX_DAG_RUN_ID": "a run",
            "PYTHONPATH": f"{project}/plugins:{project}/include:{project}",
        }

        def process(claim):
            document = json.dumps(shop.order(claim=claim).to_json())
            arguments = [str(tmp_path / "memory.json"), document, shop.cloud.project]
            command = [sys.executable, "-c", code, *arguments]
            return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)

        first = process("1")
        assert first.returncode == -signal.SIGKILL, first.stderr
        second = process("2")
        assert second.returncode == 0, second.stderr
        (job,) = shop.jobs()
        assert second.stdout.strip() == job["name"]


class TestTwoAtOnce:
    @pytest.mark.parametrize("seed", range(4))
    def test_two_buyers_end_with_one_job(self, shop, seed):
        """They stop at different points before and after the request; both have looked before either asks."""
        both_have_looked = threading.Barrier(2, timeout=60)
        created = shop.cloud.counters()["tuning_jobs_created"]
        purchases, errors = {}, []

        def reached_by(number):
            def reached(mark):
                if mark is Mark.BEFORE_INTENT:
                    both_have_looked.wait()
                if mark in {Mark.AFTER_INTENT, Mark.AFTER_REQUEST, Mark.AFTER_SETTLE}:
                    time.sleep(((seed * 7 + number * 5 + len(mark)) % 10) / 25)

            return reached

        def task(number):
            try:
                purchases[number] = shop.buy(Memory(), f"task-{number}", reached=reached_by(number))
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=task, args=(number,)) for number in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
        assert errors == []
        assert shop.cloud.counters()["tuning_jobs_created"] == created + 2
        assert shop.states() == ["CANCELLED", "PENDING"]
        earliest = min(shop.jobs(), key=lambda job: (job["createTime"], job["name"]))
        assert earliest["state"] == "JOB_STATE_PENDING"
        assert {purchase.job.name for purchase in purchases.values()} == {earliest["name"]}
        assert sorted(purchase.how for purchase in purchases.values()) == [How.ADOPTED, How.CREATED]
        reported = " ".join(purchase.sentence() for purchase in purchases.values())
        (other,) = (job["name"] for job in shop.jobs() if job is not earliest and job["name"] != earliest["name"])
        assert f"Tuning job {other} is cancelled." in reported

    def test_what_a_gateway_repeats_is_cancelled(self, shop):
        memory = Memory()

        def reached(mark):
            if mark is Mark.AFTER_REQUEST:
                shop.service.create(shop.order().attempt(1))

        purchase = shop.buy(memory, reached=reached)
        assert shop.states() == ["CANCELLED", "PENDING"]
        assert purchase.job.name == min(shop.jobs(), key=lambda job: job["createTime"])["name"]
        assert [c.job.state for c in purchase.cancelled] == [JobState.CANCELLED]

    def test_a_list_that_lags_for_seconds_is_outwaited(self, shop):
        """The first buyer's job is 4 s old, and hidden, when the second one asks."""
        shop.settle(list_lag_seconds=4.5)
        patience = Patience(settle_seconds=5.0, request_seconds=1.0)
        memories = [Memory(), Memory()]

        def late():
            time.sleep(4)
            shop.buy(memories[1], "late", patience=patience)

        thread = threading.Thread(target=late)
        thread.start()
        shop.buy(memories[0], "early", patience=patience)
        thread.join(120)
        assert shop.states() == ["CANCELLED", "PENDING"]
        assert memories[0].record.how is How.CREATED
        assert memories[1].record.job == memories[0].record.job
