from __future__ import annotations

import json

import pytest
from tests.chaos.collecting import log_of, purchase_of

KEY = "0123456789abcdef0123456789abcdef01234567"
JOBS = "/v1beta1/projects/local-dev/locations/chaos-1/tuningJobs"


def request(method, path, *, query="", body=""):
    return {"method": method, "path": path, "query": query, "body": body}


@pytest.mark.parametrize(
    "asked",
    [
        request("POST", JOBS, body=json.dumps({"labels": {"gemini-tuning-key": KEY, "gemini-tuning-run": "c1-001"}})),
        request("GET", JOBS, query=f"pageSize=100&filter=labels.gemini-tuning-key%3D%22{KEY}%22"),
        request("GET", f"{JOBS}/7"),
        request("POST", f"{JOBS}/7:cancel"),
    ],
)
def test_a_request_tells_which_purchase_it_is_about(asked):
    assert purchase_of(asked, {"7": KEY}) == KEY


def test_a_list_of_all_jobs_is_about_no_purchase():
    assert purchase_of(request("GET", JOBS, query="filter=labels.gemini-tuning-key%3A%2A"), {"7": KEY}) is None


def test_a_log_is_read_in_the_order_of_time_over_all_tries(tmp_path):
    folder = tmp_path / "dag_id=d" / "run_id=r" / "task_id=tune"
    folder.mkdir(parents=True)
    for number, second, word in ((1, 2, "later"), (2, 1, "sooner")):
        entry = {"timestamp": f"2026-11-22T12:00:0{second}Z", "level": "info", "event": word}
        (folder / f"attempt={number}.log").write_text(f"no JSON\n{json.dumps(entry)}\n{{}}\n")
    lines = log_of(tmp_path, "d", "r", "*")
    assert [(line.attempt, line.text.rpartition(" ")[2]) for line in lines] == [
        ("tune 2", "sooner"),
        ("tune 1", "later"),
    ]
    assert log_of(tmp_path, "d", "r", "validate") == []
