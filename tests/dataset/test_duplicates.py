"""What examples have in common: within a file, between files, and with the smoke suite."""

import gzip
import json
import random
import tracemalloc
from array import array
from contextlib import contextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gemini_tuning.dataset.check import check_dataset
from gemini_tuning.dataset.codes import severities
from gemini_tuning.dataset.comparing.duplicates import compare
from gemini_tuning.dataset.lines.examples import coarse_key, digest, example, normalised, repeats_a_phrase
from gemini_tuning.dataset.reading import tallies
from gemini_tuning.dataset.reading.files import FileScan
from gemini_tuning.dataset.reports.report import DatasetFile, Findings
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
        return [(f.code, f.file, f.line) for f in report.warnings if f.code in CODES]

    return found


T, V = "train.jsonl", "validation.jsonl"
CODES = ("duplicate-example", "normalised-duplicate", "repeated-prompt", "validation-leak", "smoke-leak")


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


def compared(files, key, smoke_prompts=()):
    """Return all that ``compare`` adds, in its order; blank lines are no examples."""
    scans, keys = [], []
    for name, lines in files.items():
        scan = FileScan(DatasetFile(path=name, bytes=0, examples=0, sha256="", crc32c=""))
        scan.skipped = array("Q", (number for number, text in enumerate(lines) if not text))
        keys.append(array("Q", (key(example(json.loads(text), {}).prompt) for text in lines if text)))
        scans.append(scan)

    @contextmanager
    def reopened(scan):
        yield (f"{text}\n".encode() for text in files[scan.reference])

    told = []
    findings = Findings(severities(dict.fromkeys(CODES, "error")), told.append)
    compare(scans, keys, key, smoke_prompts, findings, reopened)
    return [(finding.code, finding.file, finding.line, finding.message) for finding in told]


def plainly(files, key, smoke_prompts=()):
    """Return the same by looking at each line and all before it."""
    read = {
        name: [(number, text, example(json.loads(text), {})) for number, text in enumerate(lines, 1) if text]
        for name, lines in files.items()
    }
    keys = {name: [key(found.prompt) for *_, found in lines] for name, lines in read.items()}
    elsewhere = {
        T: {key(prompt) for prompt in smoke_prompts}.union(keys.get(V, ())),
        V: set(keys[T]),
    }
    looked = {
        name: [
            (number, text, *map(normalised, (found.prompt, found.context, found.answer)))
            for (number, text, found), own in zip(lines, keys[name], strict=True)
            if keys[name].count(own) > 1 or own in elsewhere[name]
        ]
        for name, lines in read.items()
    }
    told = []
    for name, lines in looked.items():
        for place, (number, text, *said) in enumerate(lines):
            before = lines[:place]
            same = [first for first, other, *_ in before if other.rstrip("\r") == text.rstrip("\r")]
            alike = [first for first, _, *other in before if other == said]
            repeated = [first for first, _, *other in before if other[:2] == said[:2]]
            if same:
                told.append(("duplicate-example", name, number, f"the same as line {same[0]}"))
            elif alike:
                but = "but for case, spaces or closing punctuation"
                told.append(("normalised-duplicate", name, number, f"the same as line {alike[0]} {but}"))
            elif repeated:
                message = f"the same prompt as line {repeated[0]}, with another answer"
                told.append(("repeated-prompt", name, number, message))
    first = {prompt: number for number, _, prompt, *_ in reversed(looked[T])}
    for number, _, prompt, *_ in looked.get(V, ()):
        if prompt in first:
            told.append(("validation-leak", V, number, f"the same prompt as training line {first[prompt]} ({T})"))
    for place, prompt in enumerate(map(normalised, smoke_prompts), 1):
        if prompt in first:
            told.append(("smoke-leak", T, first[prompt], f"the prompt of smoke test {place}"))
    return told


questions = st.sampled_from(["How?", "how", "HOW ", "Größe", "GRÖSSE?", "a\nb", "a b", "c", "d", "e", "f"])
texts = st.one_of(
    st.just(""),
    st.builds(
        lambda *given, end: line(*given) + end,
        questions,
        st.sampled_from(["yes", "Yes!", "no"]),
        st.sampled_from([None, None, "Be kind.", "be kind", "Be short."]),
        st.sampled_from([(), (), (), [{"fileData": {"mimeType": "image/png", "fileUri": "gs://b/1.png"}}]]),
        end=st.sampled_from(["", "", "\r"]),
    ),
)


@pytest.mark.parametrize("most", [tallies._MANY, -1], ids=["few", "many"])
@given(
    train=st.lists(texts, max_size=25),
    validation=st.none() | st.lists(texts, max_size=15),
    smoke_prompts=st.lists(questions, max_size=3),
    key=st.sampled_from([digest, coarse_key]),
)
@settings(derandomize=True, database=None, deadline=None, max_examples=400)
def test_whatever_repeats_is_told_as_by_comparing_each_with_each(most, train, validation, smoke_prompts, key):
    files = {T: train} if validation is None else {T: train, V: validation}
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(tallies, "_MANY", most)
        assert compared(files, key, smoke_prompts) == plainly(files, key, smoke_prompts)


@pytest.mark.parametrize("copies", [2, 20_000])
def test_of_a_line_that_repeats_a_few_numbers_stay_in_memory(copies, monkeypatch):
    monkeypatch.setattr(tallies, "_MANY", 10)
    count = 20_000
    keys = array("Q", (digest(str(number // copies)) for number in range(count)))
    scan = FileScan(DatasetFile(path=T, bytes=0, examples=0, sha256="", crc32c=""))

    @contextmanager
    def reopened(_):
        yield (line(str(number // copies)).encode() for number in range(count))

    findings = Findings(severities({}))
    compare([scan], [keys[:40]], digest, ["x"], findings, reopened)  # loads what is loaded once
    tracemalloc.start()
    try:
        compare([scan], [keys], digest, ["x"], findings, reopened)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 120 * count


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
