import errno
import json
import os
import shutil
import subprocess
import sys

import pytest
from tests.conftest import PROJECT
from tests.local_cloud.services import wait_until

from gemini_tuning.cli import main
from gemini_tuning.dataset.reports.report import DatasetReport

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

    @pytest.mark.parametrize(
        ("name", "sentence"),
        [
            ("x" * 300, "can't be read: File name too long"),
            ("/proc/self/mem", "can't be read: Input/output error"),
            ("/dev/null", "is a pipe or a device"),
            ("-", "stdin is not read"),
            ("train.jsonl/x", "no such file"),
        ],
    )
    def test_what_cannot_be_read_is_one_sentence_and_the_others_are_told(
        self, capsys, tmp_path, monkeypatch, name, sentence
    ):
        monkeypatch.chdir(tmp_path)
        shutil.copy(SAMPLE / "train.jsonl", tmp_path)
        status, out, err = run(capsys, "validate", "train.jsonl", name, *MODEL, "--format", "json")
        assert status == 2
        assert [report["accepted"] for report in json.loads(out)] == [True]
        assert err.splitlines()[-1].startswith(f"gemini-tuning: {name}: {sentence}")

    def test_a_pipe_is_no_file(self, tmp_path):
        command = [sys.executable, "-m", "gemini_tuning.cli", "validate", "/dev/stdin", *MODEL]
        ended = subprocess.run(command, input=b"{}", capture_output=True)
        assert (ended.returncode, ended.stdout) == (2, b"")
        assert b"/dev/stdin: is a pipe or a device" in ended.stderr

    def test_a_file_that_vanishes_or_is_forbidden_meanwhile_is_one_sentence(self, capsys, tmp_path, monkeypatch):
        path = tmp_path / "train.jsonl"
        shutil.copy(SAMPLE / "train.jsonl", path)
        monkeypatch.setattr("gemini_tuning.dataset.reading.sniffing.sniff", lambda _: path.unlink())
        status, out, err = run(capsys, "validate", path, *MODEL)
        assert (status, out) == (2, "")
        assert err.splitlines()[-1].startswith(f"gemini-tuning: {path}: can't be read: No such file")

        def forbidden(self, *, follow_symlinks=True):
            if self.name == path.name:  # as for whoever isn't root, and may not look into the folder
                raise PermissionError(errno.EACCES, "Permission denied")
            return os.stat(self, follow_symlinks=follow_symlinks)

        monkeypatch.setattr("pathlib.Path.stat", forbidden)
        status, out, err = run(capsys, "estimate", path, *MODEL)
        assert (status, out) == (2, "")
        assert err.splitlines()[-1].startswith(f"gemini-tuning: {path}: can't be read: Permission denied")

    def test_what_the_pipeline_refuses_is_refused_here_too(self, capsys):
        status, _, err = run(capsys, "validate", SAMPLE / "train.jsonl", "--model", "gemini-1.5-pro-002")
        assert status == 2
        assert "was retired on 2025-09-24" in err
        assert "did you mean" in run(capsys, "validate", SAMPLE / "train.jsonl", "--model", "gemini-2.5-flsh")[2]
        status, _, err = run(capsys, "estimate", SAMPLE / "train.jsonl", *MODEL, "--epochs", 2000)
        assert status == 2
        assert "'epochs'" in err
        assert run(capsys, "validate", SAMPLE / "train.jsonl", *MODEL, "--smoke-suite", SAMPLE)[0] == 2

    def test_several_files_are_judged_each_by_itself(self, capsys):
        status, out, _ = run(capsys, "validate", SAMPLE / "train.jsonl", BROKEN / "train.jsonl", *MODEL)
        assert status == 1
        assert out.index("Dataset accepted") < out.index("Dataset rejected")
        status, out, err = run(capsys, "validate", "gone.jsonl", BROKEN / "train.jsonl", *MODEL, "--format", "json")
        assert status == 2
        assert "gone.jsonl: no such file" in err
        assert [DatasetReport.from_json(report).accepted for report in json.loads(out)] == [False]

    def test_a_validation_file_belongs_to_one_training_file(self, capsys):
        files = [SAMPLE / "train.jsonl", BROKEN / "train.jsonl", "--validation", SAMPLE / "validation.jsonl"]
        status, _, err = run(capsys, "validate", *files, *MODEL)
        assert status == 2
        assert "name only that one" in err

    def test_a_page_and_the_rejected_lines_are_written_beside_the_report(self, capsys, tmp_path):
        page, aside = tmp_path / "report.html", tmp_path / "aside.jsonl"
        files = ["--html", page, "--quarantine", aside]
        status, out, err = run(capsys, "validate", BROKEN / "train.jsonl", *MODEL, *files, "--format", "json")
        assert status == 1
        assert not json.loads(out)["accepted"]
        lines = [json.loads(line) for line in aside.read_text().splitlines()]
        assert [line["line"] for line in lines] == [3, 6, 9, 12, 14, 17, 20, 23, 25, 27, 29]
        assert f"{len(lines)} rejected lines" in err
        html = page.read_text(encoding="utf-8")
        assert "Limits of gemini-2.5-flash" in html
        assert "most in one bar" in html

    def test_a_file_rejected_as_a_whole_has_no_lines_to_set_aside_and_costs_nothing(self, capsys, tmp_path):
        data, aside = tmp_path / "train.csv", tmp_path / "aside.jsonl"
        data.write_text("prompt,answer\nhello,hi\n")
        status, out, err = run(capsys, "validate", data, *MODEL, "--quarantine", aside)
        assert (status, aside.read_text()) == (1, "")
        assert f"{aside}: is empty, for what is rejected is the dataset as a whole" in err
        assert "$" not in out
        assert "tokens" not in out
        err = run(capsys, "validate", SAMPLE / "train.jsonl", *MODEL, "--quarantine", aside, "--force")[2]
        assert f"{aside}: is empty, for no line is rejected" in err
        data.write_text("{}")
        err = run(capsys, "validate", data, *MODEL, "--quarantine", aside, "--force")[2]
        assert "1 rejected line with its reasons" in err

    def test_nothing_that_exists_is_replaced_unasked(self, capsys, tmp_path):
        data, page = tmp_path / "train.jsonl", tmp_path / "report.html"
        shutil.copy(SAMPLE / "train.jsonl", data)
        page.write_text("mine")
        before = data.read_bytes()
        for option, target in (("--html", page), ("--quarantine", page), ("--html", data), ("--quarantine", data)):
            assert run(capsys, "validate", data, *MODEL, option, target)[0] == 2
        assert run(capsys, "validate", data, *MODEL, "--html", data, "--force")[0] == 2
        assert run(capsys, "validate", data, *MODEL, "--html", page, "--quarantine", page, "--force")[0] == 2
        assert run(capsys, "validate", data, *MODEL, "--html", "gs://b/page.html")[0] == 2
        assert (page.read_text(), data.read_bytes()) == ("mine", before)
        assert run(capsys, "validate", data, *MODEL, "--html", page, "--force")[0] == 0
        assert "Dataset" in page.read_text(encoding="utf-8")

    def test_a_quarantine_that_cannot_be_written_still_shows_the_report(self, capsys, tmp_path, monkeypatch):
        def full(*_):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("gemini_tuning.dataset.reports.quarantine._encoded", full)
        status, out, err = run(
            capsys, "validate", BROKEN / "train.jsonl", *MODEL, "--quarantine", tmp_path / "aside.jsonl"
        )
        assert status == 2
        assert "Dataset rejected" in out
        assert "No space left on device" in err

    def test_severities_are_chosen_one_by_one(self, capsys, tmp_path):
        data = tmp_path / "train.jsonl"
        data.write_bytes((SAMPLE / "train.jsonl").read_bytes().splitlines(keepends=True)[0] * 2)
        assert run(capsys, "validate", data, *MODEL)[0] == 0
        chosen = ["--severity", "duplicate-example=error", "--severity", "few-examples=ignore"]
        status, out, _ = run(capsys, "validate", data, *MODEL, *chosen)
        assert status == 1
        assert "[duplicate-example]" in out
        assert "few-examples" not in out

    @pytest.mark.parametrize(
        ("chosen", "sentence"),
        [
            (["--severity", "crlff=error"], "did you mean 'crlf'?"),
            (["--severity", "crlf=fatal"], "'error', 'warning' or 'ignore'"),
            (["--severity", "crlf"], "write CODE=LEVEL"),
            (["--budget-usd", "0"], "write US dollars above 0"),
            (["--budget-usd", "much"], "write US dollars above 0"),
        ],
    )
    def test_a_wrong_choice_is_one_sentence(self, capsys, chosen, sentence):
        status, out, err = run(capsys, "validate", SAMPLE / "train.jsonl", *MODEL, *chosen)
        assert (status, out) == (2, "")
        assert sentence in err

    def test_a_budget_rejects_what_costs_more(self, capsys):
        data = [SAMPLE / "train.jsonl", *MODEL, "--epochs", 5]
        assert run(capsys, "validate", *data, "--budget-usd", 1)[0] == 0
        status, out, _ = run(capsys, "validate", *data, "--budget-usd", "0.5")
        assert status == 1
        assert "[over-budget]" in out

    def test_private_data_is_looked_for_on_request(self, capsys, tmp_path):
        data = tmp_path / "train.jsonl"
        text = (SAMPLE / "train.jsonl").read_text().replace("a small shop", "jane.doe@harbour-hearth.com")
        data.write_text(text)
        assert "private-email" not in run(capsys, "validate", data, *MODEL)[1]
        for found, expected in (("warn", 0), ("block", 1)):
            status, out, _ = run(capsys, "validate", data, *MODEL, "--private-data", found)
            assert status == expected
            assert "private-email" in out
            assert "jane.doe" not in out

    def test_prompts_of_the_smoke_suite_must_not_be_in_training(self, capsys, tmp_path):
        first = json.loads((SAMPLE / "train.jsonl").read_text().splitlines()[0])
        prompt = first["contents"][0]["parts"][0]["text"]
        suite = tmp_path / "suite.yaml"
        suite.write_text(json.dumps({"tests": [{"prompt": prompt, "assert": [{"type": "contains", "value": "x"}]}]}))
        status, out, _ = run(capsys, "validate", SAMPLE / "train.jsonl", *MODEL, "--smoke-suite", suite)
        assert status == 0
        assert "train.jsonl:1: the prompt of smoke test 1" in out

    def test_the_second_reading_can_be_left_out(self, capsys):
        out = run(capsys, "validate", SAMPLE / "train.jsonl", *MODEL, "--no-second-reading")[1]
        assert "not read a second time: that was switched off" in out

    def test_progress_is_for_terminals(self, capsys, monkeypatch):
        err = run(capsys, "validate", SAMPLE / "train.jsonl", *MODEL)[2]
        assert "\x1b" not in err
        monkeypatch.setattr("sys.stderr.isatty", lambda: True)
        err = run(capsys, "validate", SAMPLE / "train.jsonl", *MODEL)[2]
        assert err.endswith("\r\x1b[K")

    def test_an_object_in_cloud_storage_yields_its_rejected_lines(self, capsys, google, tmp_path):
        uri = google.upload("cli/broken.jsonl", (BROKEN / "train.jsonl").read_bytes())
        aside = tmp_path / "aside.jsonl"
        assert run(capsys, "validate", uri, *MODEL, "--quarantine", aside)[0] == 1
        lines = [json.loads(line) for line in aside.read_text().splitlines()]
        assert {line["file"] for line in lines} == {uri}
        assert len(lines) == 11

    def test_wrong_usage_is_status_2(self, capsys):
        with pytest.raises(SystemExit) as ended:
            main(["validate"])
        assert ended.value.code == 2


def test_a_reader_that_has_seen_enough_is_no_accident():
    command = [sys.executable, "-m", "gemini_tuning.cli", "validate", BROKEN / "train.jsonl", *MODEL]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        process.stdout.close()
        errors = process.stderr.read()
    assert process.returncode == 141
    assert "Traceback" not in errors
    assert "Broken" not in errors


@pytest.mark.parametrize("arguments", [[], ["--format", "json"]])
def test_an_output_that_cannot_show_everything_shows_the_rest(arguments, tmp_path):
    data = tmp_path / "größe.jsonl"
    shutil.copy(BROKEN / "train.jsonl", data)
    command = [sys.executable, "-m", "gemini_tuning.cli", "validate", data, *MODEL, *arguments]
    ended = subprocess.run(command, capture_output=True, env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert ended.returncode == 1
    assert b"Traceback" not in ended.stderr
    if arguments:
        assert json.loads(ended.stdout)["files"][0]["path"] == str(data)
    else:
        assert rb"gr\xf6\xdfe.jsonl" in ended.stdout
        assert rb"tokens \xd7 4 epochs" in ended.stdout


@pytest.mark.parametrize("files", [1, 40])  # the second is more than is held back until the end
def test_a_full_output_is_one_sentence(files):
    command = [sys.executable, "-m", "gemini_tuning.cli", "validate", *[BROKEN / "train.jsonl"] * files, *MODEL]
    with open("/dev/full", "w") as full:
        ended = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert ended.returncode == 2
    assert ended.stderr.splitlines()[-1].startswith("gemini-tuning: can't go on: No space left on device")
    assert "Traceback" not in ended.stderr


def test_a_closed_output_is_one_sentence():
    command = [sys.executable, "-m", "gemini_tuning.cli", "validate", str(SAMPLE / "train.jsonl"), *MODEL]
    for closed, shown in ((">&-", "gemini-tuning: stdout is closed"), (">&- 2>&-", "")):
        ended = subprocess.run(["sh", "-c", f'exec "$@" {closed}', "sh", *command], capture_output=True, text=True)
        assert ended.returncode == 2
        assert ended.stderr.startswith(shown)
        assert len(ended.stderr.splitlines()) == bool(shown)
    ended = subprocess.run(["sh", "-c", 'exec "$@" 2>&-', "sh", *command, "--format", "json"], capture_output=True)
    assert json.loads(ended.stdout)["accepted"]


def test_estimate_says_rule_and_price_date(capsys):
    status, out, _ = run(capsys, "estimate", SAMPLE / "train.jsonl", *MODEL, "--epochs", 2)
    assert status == 0
    assert "× 2 epochs" in out
    assert "price of" in out
    assert "Billed are the training tokens" in out


def test_estimate_says_what_it_leaves_out(capsys, tmp_path):
    data = tmp_path / "train.jsonl"
    audio = {"fileData": {"mimeType": "audio/mp3", "fileUri": "gs://b/f"}}
    turns = [{"role": "user", "parts": [audio]}, {"role": "model", "parts": [{"text": "A song."}]}]
    data.write_text(json.dumps({"contents": turns}))
    status, out, _ = run(capsys, "estimate", data, *MODEL)
    assert status == 0
    assert "1 training example with audio, video, PDF or text files" in out
    assert "budget" not in out
    assert json.loads(run(capsys, "estimate", data, *MODEL, "--format", "json")[1])["examples_incomplete"] == 1


class TestExactTokens:
    def test_they_are_counted_with_the_default_credentials(self, capsys, google):
        status, out, _ = run(capsys, "validate", SAMPLE / "train.jsonl", *MODEL, "--exact-tokens")
        assert status == 0
        assert "sample of 200 of 300 examples" in out.replace("\n", " ")
        status, out, _ = run(
            capsys, "estimate", SAMPLE / "validation.jsonl", "--model", "gemini-3.5-flash", "--exact-tokens"
        )
        assert status == 0
        assert "counted by the service in every example" in out
        asked = [one["path"] for one in google.requests() if one["path"].endswith(":countTokens")]
        assert f"projects/{google.project}/locations/us/publishers/google/models/gemini-3.5-flash" in asked[-1]

    def test_an_estimate_says_what_else_was_counted(self, capsys, google, tmp_path):
        data, short = tmp_path / "train.jsonl", (SAMPLE / "train.jsonl").read_text()
        long = short.splitlines()[0].replace('"text": "', '"text": "' + "Hello? " * 60_000, 1)
        data.write_text(f"{short}{long}\n")
        status, out, _ = run(capsys, "estimate", data, *MODEL, "--exact-tokens")
        assert status == 0
        assert "train.jsonl: the service counted 1 example that may be over 131,072 tokens." in out
        assert "second time" not in out

    def test_without_credentials_it_is_said_how_to_do_without(self, capsys, monkeypatch, tmp_path):
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "gone.json"))
        status, out, err = run(capsys, "validate", SAMPLE / "train.jsonl", *MODEL, "--exact-tokens")
        assert (status, out) == (2, "")
        assert "no usable credentials" in err
        assert "without exact_tokens they are estimated" in err

    def test_a_tuned_model_counts_nothing(self, capsys, google):
        model = ["--model", "projects/p/locations/us-central1/models/1"]
        status, _, err = run(capsys, "estimate", SAMPLE / "train.jsonl", *model, "--exact-tokens")
        assert status == 2
        assert "is a tuned model" in err


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
