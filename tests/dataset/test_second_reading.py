"""The second reading, as a whole check shows it: near-duplicates, private data, drift, and what was left out."""

import json
import os
import random
from array import array

import pytest

from gemini_tuning.dataset.check import check_dataset
from gemini_tuning.dataset.codes import ON_SECOND_READING
from gemini_tuning.dataset.comparing import near, second_reading
from gemini_tuning.dataset.options import Checks
from gemini_tuning.errors import ConfigError
from gemini_tuning.tuning.models import ModelTable

MODELS = ModelTable.load()
CARD = "4111 1111 1111 1111"
LONG = "the quick brown fox jumps over the lazy dog while seventeen curious cats watch from behind a {} wooden fence"
TOPICS = "parcel kettle grinder invoice voucher refund".split()  # noqa: SIM905


def line(prompt, answer="Fine."):
    turns = [{"role": role, "parts": [{"text": text}]} for role, text in (("user", prompt), ("model", answer))]
    return {"contents": turns}


@pytest.fixture
def check(tmp_path):
    def check(train, validation=(), smoke_prompts=("What is red?",), **checks):
        for name, lines in (("train.jsonl", train), ("validation.jsonl", validation)):
            (tmp_path / name).write_text("\n".join(json.dumps(one) for one in lines))
        return check_dataset(
            "train.jsonl",
            "validation.jsonl" if validation else None,
            base_model="gemini-2.5-flash",
            epochs=1,
            models=MODELS,
            root=tmp_path,
            storage=None,
            checks=Checks.from_json(checks),
            smoke_prompts=smoke_prompts,
        )

    return check


def places(report, code):
    return [(one.file, one.line) for one in (*report.errors, *report.warnings) if one.code == code]


def test_near_duplicates_are_found_within_training_and_in_validation(check):
    train = [line("unlike"), line(LONG.format("green")), line("other"), line(LONG.format("blue"))]
    report = check(train, [line("new"), line(LONG.format("red"))])
    assert places(report, "near-duplicate") == [("train.jsonl", 4)]
    assert places(report, "near-duplicate-leak") == [("validation.jsonl", 2)]
    assert report.notes == ()


def test_many_prompts_that_are_the_same_but_for_numbers_do_not_go_unnoticed(check):
    train = [line(f"{topic} {number}") for topic, number in zip(TOPICS, "abcdef", strict=True)]
    train += [line(LONG.format(number), f"{number}.") for number in range(60)]
    report = check(train, [line(LONG.format(number)) for number in range(100, 160)])
    assert places(report, "near-duplicate") == [("train.jsonl", 8)]
    assert places(report, "near-duplicate-leak") == [("validation.jsonl", 1)]
    assert report.notes == ()


def test_prompts_whose_template_leaves_too_little_to_compare_are_noted(check):
    letters = "abcdefghijklmnopqrstuvwxyz"
    report = check([line(LONG.format(one + other)) for one in letters for other in "xyz"], [line(LONG.format("red"))])
    assert places(report, "near-duplicate") == []
    assert report.notes == (
        "Not compared for near-duplicates: 79 prompts with too few words besides a template that many share "
        "(the first: train.jsonl:1).",
    )


@pytest.mark.parametrize("order", ["template last", "template first", "shuffled"])
def test_what_is_a_template_does_not_depend_on_the_order_of_the_lines(check, order):
    words = [a + b + c for a in "bdklmn" for b in "aeiou" for c in "gprstvz"]
    dice = random.Random(4)
    lines = [line(" ".join(dice.choices(words, k=20))) for _ in range(2_500)]
    lines += [line(LONG.format(f"{one} {other}")) for one in words[:40] for other in words[40:60]]
    if order == "template first":
        lines.reverse()
    elif order == "shuffled":
        dice.shuffle(lines)
    report = check(lines)
    assert places(report, "near-duplicate") == []
    assert report.notes[0].startswith("Not compared for near-duplicates: 800 prompts")


def test_templates_are_learned_from_prompts_of_the_whole_file_and_from_fewer_long_ones():
    dice = random.Random(4)
    keys = [dice.getrandbits(64) for _ in range(10_000)] * 2
    dice.shuffle(keys)
    for size, expected in ((6_000_000, 2_000), (60_000_000, 1_398), (60_000_000_000, 400)):
        found = near.learned_from(array("Q", keys), size)
        assert len({keys[place] for place in found}) == len(found) == expected
        assert sum(place < 10_000 for place in found) > 0.4 * expected
        assert {keys[place] for place in found} == {sorted(set(keys))[place] for place in range(expected)}
    assert near.learned_from(array("Q", [7, 7, 3]), 300) == [0, 2]
    assert near.learned_from(array("Q"), 0) == []


@pytest.mark.parametrize("text", ["\u200b", "\u00a0\u200b", "\u2060 \ufeff\n", "\u2800", "\x01", "\u3164"])
def test_a_text_of_which_nothing_can_be_seen_is_told(check, text):
    turns = [
        {"role": role, "parts": [{"text": said}]}
        for role, said in zip(("user", "model") * 2, ("a", "b", "c", text), strict=True)
    ]
    report = check([line("What is red?"), line("And blue?", text), line(text), {"contents": turns}])
    assert places(report, "invisible-text") == [("train.jsonl", number) for number in (2, 3, 4)]
    assert [one.path for one in report.warnings if one.code == "invisible-text"] == [
        "contents[1]",
        "contents[0]",
        "contents[3]",
    ]


@pytest.mark.parametrize("text", ["a", "\u200b?", "\u732b", "\U0001f600", "\u0301", "-", "\u00df"])
def test_any_sign_can_be_seen(check, text):
    assert places(check([line(text, text)]), "invisible-text") == []


def test_without_a_prompt_there_is_none_to_be_seen(check):
    only_model = {"contents": [{"role": "model", "parts": [{"text": "b"}]}]}
    report = check([line("a"), only_model], severities={"first-turn": "ignore"})
    assert places(report, "invisible-text") == []
    assert report.train.examples == 2


def test_what_is_switched_off_or_would_take_long_is_said(check, monkeypatch):
    train = [line(LONG.format("green")), line(LONG.format("blue"))]
    report = check(train, second_reading=False)
    assert places(report, "near-duplicate") == []
    assert len(report.notes) == 1
    assert "not read a second time: that was switched off" in report.notes[0]
    monkeypatch.setattr(second_reading, "fits_in_a_minute", lambda examples, size: False)
    report = check(train)
    assert "more than a minute" in report.notes[0]
    assert places(report, "near-duplicate") == []
    assert not check(train, severities={"near-duplicate": "error"}).accepted  # looked for, however long that takes
    assert places(check(train, second_reading=True), "near-duplicate") == [("train.jsonl", 2)]


def in_a_fork(function):
    """Return what a function returns in a fork of this process, or the error it raises, as text."""
    taken, given = os.pipe()
    if (child := os.fork()) == 0:
        try:
            os.write(given, str(function()).encode())
        except Exception as error:
            os.write(given, repr(error).encode())
        finally:
            os._exit(0)
    os.close(given)
    with os.fdopen(taken) as answer:
        said = answer.read()
    os.waitpid(child, 0)
    return said


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("code", ["near-duplicate", "near-duplicate-leak"])
def test_a_forked_process_does_not_wait_for_threads_it_does_not_have(check, code):
    train = [line(LONG.format("green")), line(LONG.format("blue"))]
    assert places(check(train), "near-duplicate") == [("train.jsonl", 2)]
    said = in_a_fork(lambda: check(train).notes)
    assert said == "('Near-duplicates were not looked for: this process was forked from one that had done so.',)"
    said = in_a_fork(lambda: check(train, severities={code: "error"}))
    assert said.startswith("ConfigError")
    assert f"{code} can't be looked for in this process" in said
    assert "process of its own" in said


def asks(*texts):
    return [line(text, f"Answer {number}.") for number, text in enumerate(texts)]


UNLIKE = {  # training, validation
    "invisible-text": ([line("What?", "\u200b")], []),
    "degenerate-answer": ([line("Again?", "over and over again " * 40)], []),
    "normalised-duplicate": ([line("What is red?"), line("what  is RED")], []),
    "repeated-prompt": (asks("What is red?", "what  is RED"), []),
    "validation-leak": (asks("What is red?"), asks("what is red")),
    "smoke-leak": (asks("what is RED"), []),
    "near-duplicate": (asks(LONG.format("green"), LONG.format("blue")), []),
    "near-duplicate-leak": (asks(LONG.format("green")), asks(LONG.format("blue"))),
    "length-drift": ([line("a" * 9, str(n)) for n in range(60)], [line("b" * 999, str(n)) for n in range(60)]),
    "label-drift": (
        [line(f"{n}", "yes" if n % 9 else "no") for n in range(200)],
        [line(f"v{n}", "no" if n % 9 else "yes") for n in range(200)],
    ),
    "unseen-label": ([line(f"{n}", "yes") for n in range(50)], [line("v", "yes"), line("w", "late")]),
}


def test_for_every_such_code_there_are_examples_here():
    assert set(ON_SECOND_READING) == UNLIKE.keys()


@pytest.mark.parametrize("code", UNLIKE)
def test_a_second_reading_is_made_however_long_it_takes_where_its_findings_reject(check, monkeypatch, code):
    monkeypatch.setattr(second_reading, "fits_in_a_minute", lambda examples, size: False)
    train, validation = UNLIKE[code]
    skipped = check(train, validation)
    assert skipped.accepted
    assert places(skipped, code) == []
    assert "more than a minute" in skipped.notes[0]
    rejected = check(train, validation, severities={code: "error"})
    assert not rejected.accepted
    assert {one.code for one in rejected.errors} == {code}


@pytest.mark.parametrize("code", UNLIKE)
def test_what_rejects_and_is_switched_off_is_a_contradiction(code):
    with pytest.raises(ConfigError, match=f"switched off, and without it not every {code} is found"):
        Checks.from_json({"second_reading": False, "severities": {code: "error"}})
    for severity in ("warning", "ignore"):
        Checks.from_json({"second_reading": False, "severities": {code: severity}})


@pytest.mark.parametrize("code", ["near-duplicate", "near-duplicate-leak"])
def test_what_rejects_is_not_left_to_a_sample(check, monkeypatch, code):
    monkeypatch.setattr(near, "KEPT", 30)
    dice = random.Random(4)
    words = [a + b for a in "bdklmnprst" for b in "aeiou"]
    train, validation = ([line(" ".join(dice.choices(words, k=20))) for _ in range(60)] for _ in range(2))
    report = check(train, validation)
    assert report.accepted
    (note,) = report.notes
    assert note.startswith("Near-duplicates: only a sample was compared, ")
    report = check(train, validation, severities={code: "error"})
    (error,) = report.errors
    assert (error.code, error.line) == (code, None)
    assert error.file == ("train.jsonl" if code == "near-duplicate" else "validation.jsonl")
    assert error.message.startswith("only a sample was compared, ")


def test_what_rejects_is_not_left_unread(check, monkeypatch):
    monkeypatch.setattr(near, "VERIFIED", 1)
    train = asks(*map(LONG.format, ("red", "blue", "green")))
    validation = asks(*map(LONG.format, ("grey", "black", "white", "brown")))
    report = check(train, validation)
    assert report.notes == (
        "Near-duplicates: 2 more pairs of prompts look alike in train.jsonl, but were not compared word by word.",
        "Near-duplicates: 3 more pairs of prompts look alike in validation.jsonl, but were not compared word by word.",
    )
    report = check(train, validation, severities={"near-duplicate": "error"})
    assert [(one.code, one.file, one.line) for one in report.errors] == [("near-duplicate", "train.jsonl", None)]
    assert [note.split()[1] for note in report.notes] == ["3"]


def test_a_validation_file_of_another_kind_is_told(check):
    train = [line(f"{topic} {number}", topic) for number in range(40) for topic in TOPICS]
    validation = [line(f"about {number}", "complaint") for number in range(20)]
    assert places(check(train, validation), "unseen-label") == [("validation.jsonl", None)]


def test_equal_prompts_are_known_from_the_first_reading(check):
    train = [line("What is red?"), line("What is blue?"), line("What is red?", "No.")]
    for again in (True, False):
        report = check(train, [line("What is blue?", "Yes.")], second_reading=again)
        assert places(report, "repeated-prompt") == [("train.jsonl", 3)]
        assert places(report, "validation-leak") == [("validation.jsonl", 1)]


def test_prompts_in_other_letters_and_answers_that_loop_take_a_second_reading(check):
    train = [line("What is red?"), line("what  is RED"), line("Again?", "over and over again " * 40)]
    report = check(train)
    assert places(report, "normalised-duplicate") == [("train.jsonl", 2)]
    assert places(report, "degenerate-answer") == [("train.jsonl", 3)]
    assert [one.path for one in report.warnings if one.code == "degenerate-answer"] == ["contents[1]"]
    report = check(train, second_reading=False)
    assert not places(report, "normalised-duplicate") + places(report, "degenerate-answer")


@pytest.mark.parametrize("seen", [{}, {"tools": [{"functionDeclarations": [{"name": "f"}]}]}], ids=["plain", "judged"])
def test_every_turn_is_learned_and_every_part_looked_at(check, seen):
    def talk(*turns):
        roles = ("user", "model") * len(turns)
        made = [{"role": role, "parts": list(map(part, texts))} for role, texts in zip(roles, turns, strict=False)]
        return {"contents": made, **seen}

    def part(text):
        return {"text": text}

    loop, nothing = "ha ha " * 60, "\u200b"
    report = check([
        talk(["a"], ["b"], ["c"], ["d"]),
        talk(["e"], [loop], ["f"], ["g"]),
        talk(["h"], ["i"], [nothing], ["j"]),
        talk(["k", nothing], ["l"]),
        talk(["m"], ["n", "\U000e0100"]),
        talk([loop + "?"], ["o"]),
    ])
    found = [(one.code, one.line, one.path) for one in report.warnings if one.code.startswith(("deg", "inv"))]
    assert sorted(found) == [
        ("degenerate-answer", 2, "contents[1]"),
        ("invisible-text", 3, "contents[2]"),
        ("invisible-text", 4, "contents[0]"),
        ("invisible-text", 5, "contents[1]"),
    ]


class TestPrivateData:
    def test_it_is_looked_for_on_request_only(self, check):
        assert places(check([line(f"my card is {CARD}")]), "private-card") == []

    def test_it_warns_or_blocks_and_shows_no_match(self, check):
        train, validation = [line("a"), line("b", f"card {CARD}")], [line(f"and {CARD}")]
        report = check(train, validation, private_data={})
        assert places(report, "private-card") == [("train.jsonl", 2), ("validation.jsonl", 1)]
        assert report.accepted
        report = check(train, validation, private_data={"found": "block"})
        assert [finding.code for finding in report.errors] == ["private-card"] * 2
        assert "4111" not in json.dumps(report.to_json()).replace("…1111", "")

    def test_of_a_second_reading_switched_off_it_is_all_that_is_made(self, check):
        train = [line("What is red?"), line("what is RED"), line("Again?", "over and over again " * 40), line(CARD)]
        report = check(train, [line(f"and {CARD}")], smoke_prompts=(), second_reading=False, private_data={})
        assert places(report, "private-card") == [("train.jsonl", 4), ("validation.jsonl", 1)]
        assert report.counts.by_code.keys() == {"private-card", "few-examples"}
        assert len(report.notes) == 1
        assert "read again for private data only: more was switched off" in report.notes[0]

    def test_a_severity_of_its_own_outdoes_the_general_one(self, check):
        chosen = {"private_data": {"found": "block"}, "severities": {"private-card": "ignore"}}
        assert check([line(CARD)], **chosen).accepted

    def test_kinds_and_patterns_are_chosen(self, check):
        train = [line(f"card {CARD}, customer HH-12345674")]
        pattern = {"name": "customer number", "expression": r"HH-(\d{8})", "checksum": "luhn"}
        report = check(train, private_data={"kinds": ["email"], "patterns": [pattern]})
        assert places(report, "private-id") == [("train.jsonl", 1)]
        assert places(report, "private-card") == []

    @pytest.mark.parametrize(
        ("pattern", "reason"),
        [({"expression": "("}, "regular expression"), ({"expression": "x", "checksum": "luhm"}, "did you mean 'luhn'")],
    )
    def test_a_pattern_that_is_none_is_found_before_any_data_is_read(self, pattern, reason):
        with pytest.raises(ConfigError, match=reason):
            Checks.from_json({"private_data": {"patterns": [{"name": "x", **pattern}]}})
