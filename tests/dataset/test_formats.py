import json
import shlex

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gemini_tuning.dataset.lines.formats import Format, convert_command, recognise


def messages(*roles, **extra):
    return {"messages": [{"role": role, "content": "words"} for role in roles], **extra}


KNOWN = [
    (messages("system", "user", "assistant"), Format.OPENAI),
    (messages("developer", "user", "assistant", "tool"), Format.OPENAI),
    (messages("user"), Format.OPENAI),
    (messages("user", "model", tools=[]), Format.OPENAI),
    (messages("user", "model", "assistant"), Format.OPENAI),
    (messages(), Format.OPENAI),
    ({"messages": ["no message"]}, Format.OPENAI),
    ({"prompt": "a", "completion": "b"}, Format.OPENAI_COMPLETION),
    (messages("system", "user", "model"), Format.GEMINI_1_0),
    (messages("model"), Format.GEMINI_1_0),
    ({"input_text": "a", "output_text": "b"}, Format.PALM),
    ({"context": "c", "input_text": "a", "output_text": "b"}, Format.PALM),
    ({"output_text": "b"}, Format.PALM),
    ({"context": "c", "messages": [{"author": "user", "content": "a"}]}, Format.PALM),
    ({"text_input": "a", "output": "b"}, Format.DEVELOPER_API),
    ({"text_input": "a"}, Format.DEVELOPER_API),
    ({"contents": [], "completions": []}, Format.PREFERENCE),
    ({"input": {"messages": []}, "preferred_output": [], "non_preferred_output": []}, Format.PREFERENCE),
    ({"prompt": "a", "chosen": "b", "rejected": "c"}, Format.PREFERENCE),
    ({"conversations": [{"from": "human", "value": "a"}]}, Format.SHAREGPT),
    ({"instruction": "a", "input": "", "output": "b"}, Format.ALPACA),
]


@pytest.mark.parametrize(("document", "known"), KNOWN)
def test_a_known_format_is_named(document, known):
    assert recognise(document) is known


@pytest.mark.parametrize(
    "document",
    [
        {"contents": [{"role": "user", "parts": [{"text": "a"}]}]},
        {"contents": [], "messages": []},
        {"messages": "not a list"},
        {"prompt": "a"},
        {"input": "a", "output": "b"},
        {},
        [],
        "messages",
        None,
        7,
    ],
)
def test_what_is_gemini_s_own_or_unheard_of_is_none(document):
    assert recognise(document) is None


@settings(derandomize=True, database=None, max_examples=200)
@given(
    st.recursive(
        st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["messages", "role", "author", "contents", "prompt", "completion", "conversations"]),
                inner,
                max_size=3,
            )
        ),
    )
)
def test_any_json_value_is_answered_without_a_crash(document):
    assert recognise(json.loads(json.dumps(document))) in {None, *Format}


@pytest.mark.parametrize("known", Format)
def test_every_format_has_a_label_and_something_to_do(known):
    assert known.label
    remedy = known.remedy("train.jsonl")
    assert remedy.startswith("Run: gemini-tuning convert train.jsonl") == known.convertible
    assert remedy


@pytest.mark.parametrize(
    ("reference", "output"),
    [
        ("train.jsonl", "train.gemini.jsonl"),
        ("data/chats.v2.jsonl.gz", "data/chats.v2.gemini.jsonl"),
        ("gs://bucket/folder/train.jsonl", "train.gemini.jsonl"),
        ("my data/it's.json", "my data/it's.gemini.jsonl"),
        (".jsonl", "train.gemini.jsonl"),
        ("-", "-.gemini.jsonl"),
    ],
)
def test_the_command_names_both_files_as_a_shell_reads_them(reference, output):
    assert shlex.split(convert_command(reference)) == ["gemini-tuning", "convert", reference, "--to", output]
