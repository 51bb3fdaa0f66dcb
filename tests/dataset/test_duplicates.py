"""What examples have in common: within a file, between files, and with the smoke suite."""

import gzip
import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gemini_tuning.dataset.check import check_dataset
from gemini_tuning.dataset.lines.examples import coarse_key, normalised, repeats_a_phrase
from gemini_tuning.dataset.reading import tallies
from gemini_tuning.tuning.models import ModelTable

MODELS = ModelTable.load()


def line(prompt, answer="fine", system=None, parts=(), **fields):
    made = {
        "contents": [
            {"role": "user", "parts": [*parts, {"text": prompt}]},
            {"role": "model", "parts": [{"text": answer}]},
        ]
    }
    if system:
        made["systemInstruction"] = {"parts": [{"text": system}]}
    return json.dumps({**made, **fields})


@pytest.fixture
def found(tmp_path):
    def found(train, validation=None, *, pack=False, **settings):
        for name, lines in (("train.jsonl", train), ("validation.jsonl", validation)):
            if lines is not None:
                content = "\n".join(lines).encode()
                (tmp_path / name).write_bytes(gzip.compress(content) if pack else content)
        report = check_dataset(
            "train.jsonl",
            "validation.jsonl" if validation else None,
            base_model="gemini-2.5-flash",
            epochs=1,
            models=MODELS,
            root=tmp_path,
            storage=None,
            **settings,
        )
        wanted = {"duplicate-example", "normalised-duplicate", "repeated-prompt", "validation-leak", "smoke-leak"}
        return [(f.code, f.file, f.line) for f in report.warnings if f.code in wanted]

    return found


T, V = "train.jsonl", "validation.jsonl"


@pytest.mark.parametrize("pack", [False, True])
def test_each_kind_of_repetition_is_told_of_the_later_line(found, pack):
    lines = [
        line("How are you?"),
        line("other"),
        line("How are you?"),
        "{}",
        line("how  are\tYOU"),
        line("How are you?", "Fine!"),
        line("How are you?", "bad"),
        line(" how are you ", "bad."),
        json.dumps(json.loads(line("other")), indent=None, separators=(" , ", " : ")),
    ]
    assert found(lines, pack=pack) == [
        ("duplicate-example", T, 3),
        ("normalised-duplicate", T, 5),
        ("normalised-duplicate", T, 6),
        ("repeated-prompt", T, 7),
        ("normalised-duplicate", T, 8),
        ("normalised-duplicate", T, 9),
    ]


def test_what_makes_a_prompt_another_one_is_no_repetition(found):
    image = {"fileData": {"mimeType": "image/png", "fileUri": "gs://b/1.png"}}
    other = {"fileData": {"mimeType": "image/png", "fileUri": "gs://b/2.png"}}
    lines = [
        line("2+2", "4"), line("2-2", "0"), line("1 2", "a"), line("12", "b"), line("a.b"), line("ab"),
        line("Translate", "x", system="To French."), line("Translate", "y", system="To German."),
        line("What is it?", "a cat", parts=[image]), line("What is it?", "a dog", parts=[other]),
        line("x" * 1000 + "1" + "y" * 1000, "a"), line("x" * 1000 + "2" + "y" * 1000, "b"),
    ]  # fmt: skip
    assert found(lines) == []


def test_a_prompt_of_both_files_is_a_leak_however_it_is_written(found):
    train = [line("Where is it?"), line("Größe?"), line("unique"), line("with system", system="Be kind.")]
    validation = [line("new"), line("where is it", "somewhere else"), line("GRÖSSE"), line("with system")]
    assert found(train, validation) == [("validation-leak", V, 2), ("validation-leak", V, 3), ("validation-leak", V, 4)]


def test_a_prompt_of_the_smoke_suite_in_training_is_told(found):
    assert found([line("a"), line("Refund my kettle!")], smoke_prompts=["refund  my kettle", "b"]) == [
        ("smoke-leak", T, 2)
    ]


def test_in_large_files_keys_are_sorted_and_find_the_same(found, monkeypatch):
    lines = [line(str(number % 50)) for number in range(60)]
    counted = found(lines)
    monkeypatch.setattr(tallies, "_MANY", 10)
    assert found(lines) == counted
    assert len(counted) == 10


def test_a_multi_turn_prompt_is_all_before_the_last_answer(found):
    def chat(*texts):
        roles = ("user", "model") * 3
        return json.dumps({
            "contents": [{"role": r, "parts": [{"text": t}]} for r, t in zip(roles, texts, strict=False)]
        })

    lines = [chat("a", "b", "c", "d"), chat("a", "x", "c", "d"), chat("a", "b", "c", "e"), chat("a", "b")]
    assert found(lines) == [("repeated-prompt", T, 3)]


def test_texts_that_are_normalised_alike_have_the_same_coarse_key():
    for one, other in [("Hi  there?", "hi there"), ("GRÖSSE", "größe"), ("ﬁne", "fine"), (" a\n" * 400, "A " * 400)]:
        assert normalised(one) == normalised(other)
        assert coarse_key(one) == coarse_key(other)


@given(st.integers(0, 10**9))
@settings(derandomize=True, database=None, deadline=None, max_examples=300)
def test_the_coarse_key_of_a_long_prompt_holds_whatever_its_case_and_spaces(seed):
    rng = random.Random(seed)
    letters = rng.choice(("abcdeXYZ", "abcé", "ﬁﬀß字"))
    words = ["".join(rng.choices(letters, k=rng.randint(1, 12))) for _ in range(rng.choice((60, 150, 200, 250, 900)))]
    spaced = "".join(
        rng.choice((word, word.upper(), word.lower())) + rng.choice((" ", "\n", "\t  ", " " * rng.choice((1, 2, 900))))
        for word in words
    )
    assert normalised(spaced.casefold()) == normalised(" ".join(words))
    assert coarse_key(spaced) == coarse_key(" ".join(words)) != coarse_key(" ".join(words[1:]))


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("no " * 30, True),
        ("Let me see. " + "I can't do that. " * 8, True),
        ("ha" * 40, True),
        ("=" * 60, True),
        ("no " * 10, False),
        ("The cat sat on the mat, the dog sat on the log, and the hen sat on her egg all day long.", False),
        ("A long answer that says many different things. " * 2, False),
        ("Different words in a long and healthy answer without any loop at all, and then: yes yes yes yes", False),
        ("", False),
    ],
)
def test_an_answer_that_goes_in_circles(answer, expected):
    assert repeats_a_phrase(answer) is expected
