import json
import shutil

import pytest
from tests.conftest import PROJECT
from tests.local_cloud.services import wait_until

from gemini_tuning.cli import main
from gemini_tuning.dataset.report import DatasetReport

SAMPLE = PROJECT / "include" / "datasets" / "support_replies"
BROKEN = PROJECT / "include" / "datasets" / "support_replies_broken"
MODEL = ["--model", "gemini-2.5-flash"]


def run(capsys, *arguments):
    status = main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


class TestValidate:
    def test_a_good_dataset_is_status_0(self, capsys):
        status, out, _ = run(
            capsys, "validate", SAMPLE / "train.jsonl", "--validation", SAMPLE / "validation.jsonl", *MODEL
        )
        assert status == 0
        assert "Dataset accepted" in out
        assert "$" in out

    def test_a_bad_one_is_status_1_with_every_fault(self, capsys):
        status, out, _ = run(capsys, "validate", BROKEN / "train.jsonl", *MODEL)
        assert status == 1
        assert out.count("train.jsonl:") >= 5
        assert "Dataset rejected" in out

    def test_json_is_one_document_and_nothing_else(self, capsys):
        status, out, _ = run(capsys, "validate", BROKEN / "train.jsonl", *MODEL, "--format", "json")
        assert status == 1
        assert not DatasetReport.from_json(json.loads(out)).accepted

    def test_a_missing_file_is_status_2_and_one_sentence(self, capsys):
        status, out, err = run(capsys, "validate", "gone.jsonl", *MODEL)
        assert (status, out) == (2, "")
        assert err.splitlines()[-1].startswith("gemini-tuning: gone.jsonl: no such file")
        assert "Traceback" not in err

    def test_what_the_pipeline_refuses_is_refused_here_too(self, capsys):
        status, _, err = run(capsys, "validate", SAMPLE / "train.jsonl", "--model", "gemini-1.5-pro-002")
        assert status == 2
        assert "was retired on 2025-09-24" in err
        assert "did you mean" in run(capsys, "validate", SAMPLE / "train.jsonl", "--model", "gemini-2.5-flsh")[2]
        status, _, err = run(capsys, "estimate", SAMPLE / "train.jsonl", *MODEL, "--epochs", 2000)
        assert status == 2
        assert "'epochs'" in err
        assert run(capsys, "validate", SAMPLE / "train.jsonl", *MODEL, "--smoke-suite", SAMPLE)[0] == 2

    def test_wrong_usage_is_status_2(self, capsys):
        with pytest.raises(SystemExit) as ended:
            main(["validate"])
        assert ended.value.code == 2


def test_estimate_says_rule_and_price_date(capsys):
    status, out, _ = run(capsys, "estimate", SAMPLE / "train.jsonl", *MODEL, "--epochs", 2)
    assert status == 0
    assert "× 2 epochs" in out
    assert "price of" in out
    assert "Billed are the training tokens" in out


def test_pipeline_check_judges_every_file(capsys, tmp_path):
    good = PROJECT / "include" / "pipelines" / "support_replies.yaml"
    broken = tmp_path / "broken.yaml"
    shutil.copy(good, broken)
    broken.write_text(broken.read_text().replace("base_model:", "basemodel:"))
    status, out, _ = run(capsys, "pipeline", "check", broken, good)
    assert status == 1
    assert "did you mean 'base_model'?" in out
    assert "tune_support_replies" in out


def test_without_credentials_there_is_one_sentence(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "gone.json"))
    status, _, err = run(capsys, "jobs", "list", "--project", "p")
    assert status == 2
    assert "no usable credentials" in err


def test_a_job_is_listed_shown_measured_asked_and_tested(capsys, google, tmp_path, monkeypatch):
    from google.genai.types import TuningDataset

    monkeypatch.setattr("gemini_tuning.smoke.endpoint.ATTEMPTS", 1)

    uri = google.upload("cli/train.jsonl", (SAMPLE / "train.jsonl").read_bytes().splitlines(keepends=True)[0] * 20)
    client = google.genai()
    job = client.tunings.tune(
        base_model="gemini-2.5-flash", training_dataset=TuningDataset(gcs_uri=uri), config={"epoch_count": 3}
    )
    wait_until(lambda: client.tunings.get(name=job.name).has_ended, 60, "the job to end")

    assert job.name in run(capsys, "jobs", "list")[1]
    status, out, _ = run(capsys, "jobs", "show", job.name, "--format", "json")
    shown = json.loads(out)
    assert (status, shown["state"]) == (0, "JOB_STATE_SUCCEEDED")
    assert (
        f"tuned_model.endpoint                   {shown['tuned_model']['endpoint']}"
        in run(capsys, "jobs", "show", job.name)[1]
    )
    assert "/train_total_loss  step 1:" in run(capsys, "jobs", "metrics", job.name)[1]
    endpoint = shown["tuned_model"]["endpoint"]
    status, answer, _ = run(
        capsys, "ask", endpoint, "hello", "--model", "gemini-2.5-flash", "--temperature", 0, "--max-output-tokens", 5
    )
    assert status == 0
    assert answer.strip()

    suite = tmp_path / "suite.yaml"
    for value, expected in (("nothing at all", 1), ("", 0)):
        suite.write_text(f"tests: [{{prompt: hello, assert: [{{type: contains, value: '{value}'}}]}}]")
        assert run(capsys, "smoke", suite, "--endpoint", endpoint)[0] == expected

    status, _, err = run(capsys, "ask", endpoint, "hello", "--temperature", 9)
    assert status == 2
    assert "'temperature'" in err
    status, _, err = run(capsys, "jobs", "cancel", "9")
    assert status == 2
    assert "projects/P/locations/L/tuningJobs/ID" in err
    assert run(capsys, "ask", "projects/p/locations/us-central1/endpoints/1", "x")[0] == 2
