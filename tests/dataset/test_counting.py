"""Tokens counted by the service: what is asked about, and what becomes of the answers."""

import itertools
import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.local_cloud.services import running_local_cloud, wait_for_job

from gemini_tuning.dataset import counting
from gemini_tuning.dataset.check import check_dataset
from gemini_tuning.dataset.options import Checks
from gemini_tuning.dataset.reports.html import report_html
from gemini_tuning.dataset.reports.markdown import report_markdown
from gemini_tuning.dataset.reports.text import report_text
from gemini_tuning.errors import ConfigError, ServiceRefusedError, TransientError
from gemini_tuning.tuning import tokens
from gemini_tuning.tuning.client import vertex_client
from gemini_tuning.tuning.models import ModelTable
from gemini_tuning.tuning.tokens import TokenCounter, counting_location

MODELS = ModelTable.load()
MODEL = "gemini-2.5-flash"
PLUGINS = str(Path(counting.__file__).parents[2])
AUDIO = {"fileData": {"mimeType": "audio/mp3", "fileUri": "gs://b/f"}}


def limited(tokens_per_example):
    info = MODELS.models[MODEL]
    limits = info.limits.model_copy(update={"tokens_per_example": tokens_per_example})
    return MODELS.model_copy(update={"models": {MODEL: info.model_copy(update={"limits": limits})}})


def line(estimated, actual, *, parts=()):
    """Return an example of so many estimated tokens; the counter of these tests finds the actual ones in it."""
    text = f"{actual}#".ljust(4 * estimated - 2, "x")
    turns = [("user", [*parts, {"text": text}]), ("model", [{"text": "ok"}])]
    return {"contents": [{"role": role, "parts": parts} for role, parts in turns]}


class Service:
    """Counts what ``line`` says it should, and remembers who asked."""

    def __init__(self):
        self.asked = []

    def __call__(self, example, where):
        self.asked.append(where)
        return int(example["contents"][0]["parts"][-1]["text"].partition("#")[0])

    def lines(self, file="train.jsonl"):
        return sorted(int(line) for name, line in (where.split(":") for where in self.asked) if name == file)


@pytest.fixture
def service():
    return Service()


@pytest.fixture
def check(tmp_path, service):
    def check(train, validation=(), models=MODELS, counter=None, budget_usd=None, rejected=None, **checks):
        for name, lines in (("train.jsonl", train), ("validation.jsonl", validation)):
            texts = (one if isinstance(one, str) else json.dumps(one) for one in lines)
            (tmp_path / name).write_text("".join(f"{text}\n" for text in texts))
        return check_dataset(
            "train.jsonl",
            "validation.jsonl" if validation else None,
            base_model=MODEL,
            epochs=1,
            models=models,
            root=tmp_path,
            storage=None,
            counter=counter or (lambda: service),
            checks=Checks.from_json({"second_reading": False, "exact_tokens": True, **checks}),
            budget_usd=budget_usd,
            rejected=rejected,
        )

    return check


def long_ones(report):
    return {one.line: one.message for one in (*report.errors, *report.warnings) if one.code == "long-example"}


def test_nothing_is_asked_unasked(check, service):
    report = check([line(50, 70)] * 3, exact_tokens=False)
    assert service.asked == []
    assert report.estimate.tokens_per_epoch == 150
    assert "third either way" in report.estimate.basis


def test_a_small_file_is_counted_whole(check):
    report = check([line(50, 60), line(50, 71)])
    assert report.estimate.tokens_per_epoch == 131
    assert str(report.estimate).startswith("131 tokens × 1 epoch")
    assert "counted by the service in every example" in report_text(report).replace("\n", " ")


def test_a_large_file_is_scaled_from_a_sample_all_over_it(check, service):
    sizes = [20 + number % 7 * 30 for number in range(3000)]
    report = check([line(size, 2 * size + number % 5 - 2) for number, size in enumerate(sizes)])
    asked = service.lines()
    assert len(asked) == len(set(asked)) == 200
    assert asked[0] <= 15
    assert asked[-1] > 2985
    assert max(later - earlier for earlier, later in itertools.pairwise(asked)) < 30
    actual = sum(2 * size for size in sizes)
    assert report.estimate.tokens_per_epoch == pytest.approx(actual, rel=report.estimate.error_band)
    assert 0 < report.estimate.error_band < 0.01
    shown = report_text(report).replace("\n", " ")
    assert "counted by the service in a sample of 200 of 3,000 examples, good to about" in shown
    assert report.estimate.cost_usd == pytest.approx(actual * 5e-6, rel=0.01)


def test_a_few_large_examples_outside_the_sample_make_the_figure_less_certain(check):
    even = [line(50, 45 + number % 11) for number in range(1000)]
    calm = check(even).estimate
    uneven = check([*even, *[line(20_000, 20_000)] * 2]).estimate
    assert 0 < calm.error_band < 0.03 < uneven.error_band < 0.2


def test_examples_near_the_limit_are_judged_by_their_count(check, service, monkeypatch):
    monkeypatch.setattr(counting, "SAMPLE", 10)
    train = [*[line(50, 50)] * 300, line(110, 90), line(90, 120), line(160, 130), line(60, 60)]
    report = check(train, models=limited(100))
    assert long_ones(report) == {
        302: "120 tokens (counted), the service takes 100 in an example",
        303: "about 160 tokens (estimated, good to about a third), the service takes 100 in an example",
    }
    assert service.lines()[10:] == [301, 302]
    assert "train.jsonl: the service counted 2 examples that may be over 100 tokens." in report.notes


def test_numbers_that_are_longer_written_out_are_not_overlooked(check):
    turns = [
        {"role": "user", "parts": [{"text": "10#"}]},
        {"role": "model", "parts": [{"functionCall": {"name": "f", "args": {"numbers": []}}}]},
        {"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {}}}]},
        {"role": "model", "parts": [{"text": "ok"}]},
    ]
    tools = [{"functionDeclarations": [{"name": "f", "description": "Adds."}]}]
    numbers = json.dumps({"tools": tools, "contents": turns}).replace("[]", f"[{','.join(['1e15'] * 310)}]")
    report = check([*[line(50, 50)] * 20, numbers], models=limited(1000))
    assert long_ones(report).keys() == {21}


def test_a_text_of_another_language_is_judged_by_what_the_sample_showed(check):
    report = check([*[line(20, 60)] * 300, line(40, 120), line(40, 95)], models=limited(100))
    assert long_ones(report) == {301: "120 tokens (counted), the service takes 100 in an example"}


@pytest.mark.parametrize(("actual", "accepted"), [(90, True), (130, False)])
def test_whether_too_many_are_dropped_is_known_exactly(check, actual, accepted):
    train = [*[line(50, 50)] * 16, *[line(110, actual)] * 4]
    report = check(train, models=limited(100))
    assert report.accepted == accepted
    assert ("dropped-examples" in report.counts.by_code) == (not accepted)
    assert not check(train, models=limited(100), exact_tokens=False).accepted


def test_validation_is_held_to_the_limit_too(check, service):
    validation = [line(50, 50), line(95, 105)]
    report = check([line(50, 50)] * 20, validation, models=limited(100))
    assert [(one.file, one.line) for one in report.warnings if one.code == "long-example"] == [("validation.jsonl", 2)]
    assert service.lines("validation.jsonl") == [2]
    assert report.estimate.tokens_per_epoch == 1000


def test_the_number_of_requests_is_bounded_and_the_rest_is_said(check, service, monkeypatch):
    monkeypatch.setattr(counting, "SAMPLE", 5)
    monkeypatch.setattr(counting, "MOST", 4)
    train = [*[line(50, 50)] * 50, *[line(110, 90)] * 10]
    report = check(train, models=limited(100))
    assert len(service.asked) == 5 + 4
    assert len(long_ones(report)) == 6
    assert all("estimated" in message for message in long_ones(report).values())
    note = "the service counted 4 examples that may be over 100 tokens; 6 more such examples are only estimated."
    assert f"train.jsonl: {note}" in report.notes


def test_a_few_requests_are_under_way_at_a_time(check, service):
    under_way, most, lock = set(), [0], threading.Lock()

    def slow(example, where):
        with lock:
            under_way.add(where)
            most[0] = max(most[0], len(under_way))
        time.sleep(0.005)
        with lock:
            under_way.remove(where)
        return service(example, where)

    check([line(50, number) for number in range(1, 41)], counter=lambda: slow)
    assert 2 <= most[0] <= 4


def test_lines_that_are_not_asked_about_hold_up_no_request(check, monkeypatch):
    monkeypatch.setattr(counting, "SAMPLE", 8)
    monkeypatch.setattr(counting, "MOST", 20)
    together = threading.Barrier(4)

    def count(example, where):
        together.wait(30)
        return 90

    report = check([*[line(50, 50)] * 8, *[line(110, 90)] * 400], models=limited(100), counter=lambda: count)
    assert any("counted 20 examples" in note for note in report.notes)


def test_a_failure_waits_for_no_other_request(check):
    end, answered = threading.Event(), []

    def count(example, where):
        if where.endswith(":1"):
            raise TransientError("Nobody is there.")
        answered.append(end.wait(30))
        return 1

    with pytest.raises(TransientError):
        check([line(50, 50)] * 30, counter=lambda: count)
    assert not answered
    end.set()


def test_an_interrupted_program_waits_for_no_request(tmp_path):
    (tmp_path / "train.jsonl").write_text(f"{json.dumps(line(50, 50))}\n" * 30)
    program = f"""
        import signal, threading
        signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell's background jobs don't have
        from gemini_tuning.dataset.check import check_dataset
        from gemini_tuning.dataset.options import Checks
        from gemini_tuning.tuning.models import ModelTable

        def count(example, where):
            print("asked", flush=True)
            threading.Event().wait()

        check_dataset(
            {str(tmp_path / "train.jsonl")!r}, None, base_model={MODEL!r}, epochs=1, models=ModelTable.load(),
            root=None, storage=None, counter=lambda: count, checks=Checks(second_reading=False, exact_tokens=True),
        )
    """
    command = [sys.executable, "-c", textwrap.dedent(program)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": PLUGINS}
    ) as started:
        try:
            assert started.stdout.readline() == "asked\n"
            started.send_signal(signal.SIGINT)
            error = started.communicate(timeout=60)[1]
        finally:
            started.kill()
    assert error.rstrip().endswith("KeyboardInterrupt")


class TestFilesWithoutEstimate:
    def test_they_are_said_to_be_left_out(self, check):
        train = [*[line(50, 50)] * 8, *[line(50, 5000, parts=[AUDIO])] * 2]
        report = check(train, exact_tokens=False, budget_usd=1)
        assert report.accepted
        assert report.estimate.examples_incomplete == 2
        (note,) = [note for note in report.notes if "audio" in note]
        assert note.startswith("2 training examples with audio, video, PDF or text files: ")
        assert "may cost more than the budget of $1.00" in note
        for shown in (report_text(report), report_markdown(report), report_html(report), json.dumps(report.to_json())):
            plain = re.sub(r"\s+", " ", shown)
            assert "not in the estimate" in plain
            assert "without those of files" in str(report.estimate)
        assert "budget" not in str(check(train, exact_tokens=False).notes)
        assert "budget" not in str(check(train, exact_tokens=False, budget_usd=0.00001).notes)

    def test_an_image_is_in_the_estimate(self, check):
        image = {"fileData": {"mimeType": "image/png", "fileUri": "gs://b/f"}}
        report = check([line(50, 50, parts=[image])], exact_tokens=False)
        assert report.estimate.examples_incomplete == 0
        assert not [note for note in report.notes if "files" in note]

    def test_all_of_them_are_counted(self, check):
        train = [*[line(50, 40)] * 500, *[line(50, 5000, parts=[AUDIO]), line(50, 7000, parts=[AUDIO])]]
        report = check(train)
        assert report.estimate.tokens_per_epoch == 500 * 40 + 5000 + 7000
        assert report.estimate.examples_incomplete == 0
        assert not [note for note in report.notes if "left out" in note or "not in the estimate" in note]

    def test_too_many_of_them_are_scaled_from_some(self, check, monkeypatch):
        monkeypatch.setattr(counting, "MOST", 20)
        train = [line(50, 5000 + number % 3, parts=[AUDIO]) for number in range(100)]
        report = check(train)
        assert report.estimate.tokens_per_epoch == pytest.approx(500_100, rel=0.001)
        assert report.estimate.examples_counted == 20
        assert report.estimate.error_band > 0

    def test_they_may_be_too_long(self, check):
        report = check([*[line(50, 50)] * 20, line(50, 500, parts=[AUDIO])], models=limited(100))
        assert long_ones(report) == {21: "500 tokens (counted), the service takes 100 in an example"}

    def test_an_example_is_dropped_only_once(self, check):
        report = check([*[line(50, 50)] * 10, line(50, 500, parts=[AUDIO, AUDIO])], models=limited(100))
        assert {"too-many-files", "long-example"} < report.counts.by_code.keys()
        assert report.accepted


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(sizes=st.lists(st.tuples(st.integers(5, 200), st.floats(0.9, 1.1)), min_size=1, max_size=40))
def test_where_the_estimate_is_as_good_as_it_says_every_verdict_is_right(sizes, tmp_path_factory):
    examples = [line(size, max(1, round(size * off))) for size, off in sizes]
    folder = tmp_path_factory.mktemp("counting")
    (folder / "train.jsonl").write_text("".join(json.dumps(one) + "\n" for one in examples))
    report = check_dataset(
        "train.jsonl",
        None,
        base_model=MODEL,
        epochs=1,
        models=limited(100),
        root=folder,
        storage=None,
        counter=Service,
        checks=Checks(second_reading=False, exact_tokens=True),
    )
    actual = [max(1, round(size * off)) for size, off in sizes]
    assert report.counts.by_code.get("long-example", 0) == sum(tokens > 100 for tokens in actual)


def test_a_long_example_made_an_error_is_put_aside_with_its_count(check):
    aside = []
    severities = {"long-example": "error"}
    train = [*[line(50, 50)] * 20, line(90, 120), line(50, 51)]
    report = check(train, models=limited(100), severities=severities, rejected=aside.extend)
    assert not report.accepted
    assert [(one.line, [fault.message for fault in one.faults]) for one in aside] == [
        (21, ["120 tokens (counted), the service takes 100 in an example"])
    ]


@pytest.mark.parametrize("kind", [TransientError, ServiceRefusedError])
def test_a_service_that_fails_ends_the_check_and_says_how_to_do_without(check, kind):
    def failing(example, where):
        raise kind(f"Counting the tokens of {where} failed.")

    with pytest.raises(kind, match=r"train\.jsonl:1 failed\..* without exact_tokens they are estimated"):
        check([line(50, 50)] * 30, counter=lambda: failing)


def test_without_a_connection_nothing_is_read(tmp_path):
    with pytest.raises(ConfigError, match="no connection to count with"):
        check_dataset(
            "gone.jsonl",
            None,
            base_model=MODEL,
            epochs=1,
            models=MODELS,
            root=tmp_path,
            storage=None,
            checks=Checks(exact_tokens=True),
        )


def test_the_model_is_asked_where_it_serves_and_a_tuned_one_not_at_all():
    assert counting_location(MODEL, MODELS.find(MODEL), "europe-west4") == "europe-west4"
    assert counting_location("gemini-3.5-flash", MODELS.find("gemini-3.5-flash"), "europe-west4") == "eu"
    assert counting_location("gemini-9", None, "us-central1") == "us-central1"
    with pytest.raises(ConfigError, match="is a tuned model"):
        counting_location("projects/p/locations/l/models/1", None, "us-central1")


class TestAgainstVertex:
    @pytest.fixture(scope="class")
    def cloud(self, tmp_path_factory):
        """A local cloud of this class's own: a fault strikes whoever comes first."""
        with running_local_cloud(tmp_path_factory.mktemp("cloud")) as cloud:
            yield cloud

    @pytest.fixture
    def counter(self, cloud, monkeypatch):
        monkeypatch.setenv("GOOGLE_VERTEX_BASE_URL", cloud.vertex_url)
        return TokenCounter(vertex_client(cloud.credentials(), cloud.project, cloud.location), MODEL)

    def test_what_is_counted_is_what_a_job_is_billed(self, cloud, counter, check):
        train = [line(20 + number, 1) for number in range(30)]
        for number, example in enumerate(train):
            example["systemInstruction"] = {"parts": [{"text": f"Be kind to customer {number}."}]}
        report = check(train, counter=lambda: counter)
        uri = cloud.upload("counting/train.jsonl", train)
        with cloud.http() as http:
            job = {"baseModel": MODEL, "supervisedTuningSpec": {"trainingDatasetUri": uri}}
            created = http.post(f"/v1/{cloud.parent}/tuningJobs", json=job).raise_for_status().json()
            ended = wait_for_job(http, created["name"])
        billed = ended["tuningDataStats"]["supervisedTuningDataStats"]["totalBillableTokenCount"]
        assert report.estimate.tokens_per_epoch == int(billed)

    def test_the_whole_line_is_sent_as_it_stands(self, cloud, counter):
        parameters = {"type": "object", "properties": {"a": {"const": 1}}, "additionalProperties": False}
        example = {
            **line(10, 1),
            "system_instruction": {"parts": [{"text": "Be kind."}]},
            "tools": [{"function_declarations": [{"name": "find", "parameters": parameters}]}],
            "generation_config": {"media_resolution": "MEDIA_RESOLUTION_LOW"},
        }
        bare = {"contents": example["contents"]}
        assert counter(example, "here") > counter(bare, "here") > 0
        sent = [json.loads(one["body"]) for one in cloud.requests()[-2:]]
        assert sent == [example, bare]

    def test_a_service_that_is_busy_is_asked_again(self, cloud, counter):
        cloud.control("POST", "faults", {"path": ":countTokens$", "status": 503, "times": 1})
        assert counter(line(10, 1), "train.jsonl:1") > 0

    def test_a_refusal_names_the_line_and_is_no_matter_of_trying_again(self, counter):
        with pytest.raises(ServiceRefusedError, match=r"Counting the tokens of train\.jsonl:7 failed: HTTP 501"):
            counter(line(10, 1, parts=[AUDIO]), "train.jsonl:7")

    def test_no_network_is_worth_trying_again(self, cloud, monkeypatch):
        monkeypatch.setattr(tokens, "ATTEMPTS", 1)
        monkeypatch.setenv("GOOGLE_VERTEX_BASE_URL", "http://127.0.0.1:9")
        counter = TokenCounter(vertex_client(cloud.credentials(), "p", "us-central1"), MODEL)
        with pytest.raises(TransientError, match="no connection to Google's API"):
            counter(line(10, 1), "train.jsonl:1")
