"""What is accepted fast is what the judge finds nothing wrong with; what is counted is what is explained."""

import io
import json
import random
from collections import Counter

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.dataset.lines import DAMAGE, document, good_lines, mutated_bytes, mutated_document, written

from gemini_tuning.dataset.lines import judge
from gemini_tuning.dataset.lines.accept import accept_conversation
from gemini_tuning.dataset.lines.examples import digest
from gemini_tuning.dataset.lines.examples import example as example_of
from gemini_tuning.dataset.lines.parsing import parse
from gemini_tuning.dataset.lines.rules import Rules
from gemini_tuning.dataset.lines.violations import counted, explained
from gemini_tuning.dataset.reading.scanning import Explainer, Scanner
from gemini_tuning.dataset.reports.report import Finding, Findings

RULES = Rules(media_types={"image/png": "image", "video/mp4": "video"}, files_per_example={"image": 30, "video": 1})
bounded = settings(derandomize=True, database=None, deadline=None, max_examples=1500)


def judged(line):
    """Everything about a line, by the judge alone."""
    parsed, unreadable = parse(line)
    if unreadable:
        return [unreadable], None
    faults = judge.faults(parsed, RULES)
    bad = any(RULES.severities[fault.code] == "error" for fault in faults)
    return faults, None if bad else example_of(parsed, RULES.media_types)


def scanned(line):
    return Scanner(RULES).scan(io.BytesIO(line), len(line))


def agree(line):
    """Check that a scan tells of a line just what the judge does."""
    faults, expected = judged(line)
    found = scanned(line)
    if not found.legacy:
        assert [fault for _, fault in found.findings if fault.code != "long-example"] == faults
    if expected is None:
        assert (len(found.prompts), len(found.skipped)) == (0, 8)
        return
    assert (len(found.prompts), len(found.skipped)) == (8, 0)
    assert int.from_bytes(found.prompts, "little") == digest(expected.prompt)
    if pairs := list(memoryview(found.pair_sizes).cast("I")):
        assert (pairs, expected.roles) == ([expected.characters], ("user", "model"))
    else:
        assert found.characters == {expected.characters: 1}
        assert found.tokens == {expected.tokens: 1}
        assert found.turns == {len(expected.roles): 1}
        assert sum(found.roles.values()) == len(expected.roles)
    assert found.instructed == expected.instructed


@given(st.integers(0, 10**9))
@bounded
def test_a_scan_tells_what_the_judge_tells_of_mutated_documents(seed):
    rng = random.Random(seed)
    made = document(rng, seed)
    for _ in range(rng.randint(0, 3)):
        made = mutated_document(rng, made)
    agree(written(rng, made))


@given(st.integers(0, 10**9))
@bounded
def test_a_scan_tells_what_the_judge_tells_of_mutated_bytes(seed):
    rng = random.Random(seed)
    line = mutated_bytes(rng, written(rng, document(rng, seed)))
    if line:
        agree(line)


@pytest.mark.parametrize("name", [name for name, (line, *_) in DAMAGE.items() if line and len(line) < 2**20])
def test_a_scan_tells_what_the_judge_tells_of_damage(name):
    agree(DAMAGE[name][0])


@given(st.binary(min_size=1, max_size=200))
@bounded
@example(b"\xff\xfe{\x00}\x00")
@example(b'{"contents": [], "contents": []}')
def test_no_bytes_break_it(noise):
    for line in noise.split(b"\n"):
        if line:
            agree(line)


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["contents", "parts", "role", "text", "tools", "x"]), inner)
        ),
    )
)
@bounded
def test_the_compiled_schema_finds_the_violations_that_jsonschema_finds(value):
    assert counted(value) == explained(value)


@given(st.integers(0, 10**9))
@bounded
def test_the_compiled_schema_agrees_on_mutated_documents(seed):
    rng = random.Random(seed)
    made = mutated_document(rng, mutated_document(rng, document(rng, seed)))
    assert counted(made) == explained(made)
    assert judge.codes(made, RULES) == [fault.code for fault in judge.faults(made, RULES)]


def test_what_is_only_counted_is_what_the_judge_would_tell():
    rng = random.Random(3)
    lines = []
    for number in range(300):
        made = document(rng, number)
        for _ in range(rng.randint(0, 3)):
            made = mutated_document(rng, made)
        line = written(rng, made)
        line = mutated_bytes(rng, line) if rng.random() < 0.5 else line
        # the same fault again and again, in other words
        lines += [
            line.replace(b"parcel", word)
            for word in (b"parcel", b"a word", b"", b" ", b"\x01", b"\xff", b'"', b"\\", b"\\n")
        ]
    lines = [line for line in lines if line.strip()] * 3
    found = Scanner(RULES).scan(io.BytesIO(b"\n".join(lines)), sum(map(len, lines)) + len(lines) - 1)
    alone = [scanned(line) for line in lines]
    assert found.counts == sum((Counter(one.counts) for one in alone), Counter())
    assert sum(found.counts.values()) > 20 * len(found.counts)
    assert len(found.prompts) == sum(len(one.prompts) for one in alone)
    assert {name: count for name, (count, _) in found.legacy.items()} == dict(
        sum((Counter({name: count for name, (count, _) in one.legacy.items()}) for one in alone), Counter())
    )


def test_what_is_put_into_words_later_is_what_a_scanner_says_at_once():
    rng = random.Random(4)
    lines = [written(rng, mutated_document(rng, document(rng, number))) for number in range(2000)]
    lines += [b"no " * 40, lines[0]] + [line for line, *_ in DAMAGE.values() if line and len(line) < 2**20]
    told, later, explainer = Scanner(RULES), [Scanner(RULES, explains=False) for _ in range(2)], Explainer(RULES)
    at_once, in_words = Findings(RULES.severities), Findings(RULES.severities)
    for start in range(0, len(lines), 50):
        content = b"".join(line + b"\n" for line in lines[start : start + 50])
        expected = told.scan(io.BytesIO(content), len(content))
        found = rng.choice(later).scan(io.BytesIO(content), len(content))
        explainer.explain(found)
        assert found.counts == expected.counts
        for one, into in ((expected, at_once), (found, in_words)):
            for number, fault in one.findings:
                into.keep(Finding(file="f", line=start + number + 1, **fault._asdict()))
    for severity in ("error", "warning"):
        assert in_words.listed(severity, ["f"]) == at_once.listed(severity, ["f"]) != ()


def test_most_good_lines_of_text_need_no_judge():
    lines = [line for line in good_lines(1, 400) if b"fileData" not in line and b"functionCall" not in line]
    assert len(lines) > 200
    assert all(accept_conversation(line + b"\n") for line in lines)


@pytest.mark.parametrize("marks", range(7))
def test_quotation_marks_in_texts_do_not_hide_a_twin(marks):
    """Written as ``\\u0022`` they are none of the line's, and could make up for those of a twin."""
    for mark in (rb"\u0022", rb"\"", rb"\\\"", rb"\\"):
        line = b'{"contents":[{"role":"user","parts":[{"text":"a%s"}]},{"role":"model","parts":[{"text":"b"}]}]}\n'
        agree(line % (mark * marks))
        for twin in (b'"text":"x",', b'"text":"%s",' % (mark * marks)):
            agree((line % (mark * marks)).replace(b'{"text":"a', b"{" + twin + b'"text":"a'))


@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": "), (" , ", " : ")])
def test_a_twin_is_seen_however_the_line_is_spaced(separators):
    pair = {"contents": [{"role": "user", "parts": [{"text": "q"}]}, {"role": "model", "parts": [{"text": "a"}]}]}
    line = json.dumps(pair, separators=separators).encode()
    colon = separators[1].encode()
    for twin in (b'"text"' + colon + b'"x",', b'"text":"x",', b'"role":"user",', b'"parts":[{"text":"x"}],'):
        for place in range(len(line)):
            agree(line[:place] + twin + line[place:])
    assert scanned(line).findings == []
