import json
import shlex

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gemini_tuning.dataset.lines.formats import Format, as_argument, convert_command, recognise


def messages(*roles, **extra):
    return {"messages": [{"role": role, "content": "words"} for role in roles], **extra}


KNOWN = [
    (messages("system", "user", "assistant"), Format.OPENAI),
    (messages("developer", "user", "assistant", "tool", "assistant"), Format.OPENAI),
    (messages("user", "assistant", "system"), Format.OPENAI),
    (messages("user"), Format.OPENAI_PROMPT),
    (messages("developer", "user", tools=[], target="b"), Format.OPENAI_PROMPT),
    (messages("user", "assistant", "user"), Format.OPENAI_PROMPT),
    (messages("user", "assistant", "tool", "system"), Format.OPENAI_PROMPT),
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
    ({"chosen_messages": [], "rejected_messages": []}, Format.PREFERENCE),
    ({"conversations": [], "chosen": {}, "rejected": {}}, Format.PREFERENCE),
    ({"prompt": "a", "response": "b", "chosen": "b", "rejected": "c"}, Format.PREFERENCE),
    ({"conversations": [{"from": "human", "value": "a"}]}, Format.SHAREGPT),
    ({"messages": [{"from": "human", "value": "a"}]}, Format.SHAREGPT),
    (messages("user", "function_call", "observation", "assistant"), Format.SHAREGPT),
    ({"messages": [{"role": ["human"], "from": {}}]}, Format.OPENAI),
    ({"instruction": "a", "input": "", "output": "b"}, Format.ALPACA),
    ({"instruction": "a", "output": "b"}, Format.ALPACA),
    ({"instruction": "a", "context": "", "response": "b"}, Format.INSTRUCTION_RESPONSE),
    ({"question": "a", "answer": "b"}, Format.QUESTION_ANSWER),
    ({"query": "a", "response": "b"}, Format.QUERY_RESPONSE),
    ({"prompt": "a", "response": "b"}, Format.PROMPT_RESPONSE),
    ({"input": "a", "output": "b"}, Format.INPUT_OUTPUT),
    ({"instruction": "a", "instances": []}, Format.SELF_INSTRUCT),
    ({"text": "a"}, Format.PLAIN_TEXT),
    ({"item": messages("user", "assistant")}, Format.WRAPPED),
    ({"data": {"question": "a", "answer": "b"}}, Format.WRAPPED),
    ({"request": {"contents": []}}, Format.WRAPPED),
    ({"item": messages("user")}, Format.OPENAI_PROMPT),
    ({"item": {"chosen": "a", "rejected": "b"}}, Format.PREFERENCE),
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
        {"question": "a"},
        {"input": "a", "answer": "b"},
        {"text": "a", "label": "b"},
        {"content": []},
        {"item": {"question": "a", "answer": "b"}, "id": 1},
        {"item": {"item": {"question": "a", "answer": "b"}}},
        {"item": {"target": "a", "nums": "b"}},
        {"systemInstruction": {"text": "a"}},
        {"contents": {"contents": []}},
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
    assert remedy.endswith("Run: gemini-tuning convert train.jsonl --to train.gemini.jsonl") == known.convertible
    assert remedy


def test_what_to_do_names_no_field_that_a_preference_line_may_lack():
    assert "chosen" not in Format.PREFERENCE.remedy("train.jsonl")


@pytest.mark.parametrize(
    ("reference", "output"),
    [
        ("train.jsonl", "train.gemini.jsonl"),
        ("data/chats.v2.jsonl.gz", "data/chats.v2.gemini.jsonl"),
        ("gs://bucket/folder/train.jsonl", "train.gemini.jsonl"),
        ("my data/it's.json", "my data/it's.gemini.jsonl"),
        (".jsonl", "train.gemini.jsonl"),
        ("./data/train.jsonl", "data/train.gemini.jsonl"),
        (f"data/{'é' * 122}.jsonl", "data/train.gemini.jsonl"),  # .gemini more than a name may be long
    ],
)
def test_the_command_names_both_files_as_a_shell_reads_them(reference, output):
    assert shlex.split(convert_command(reference)) == ["gemini-tuning", "convert", reference, "--to", output]


@pytest.mark.parametrize("file", ["-", "-dash.jsonl", "--force", "./-dash.jsonl"])
def test_no_name_is_taken_for_an_option(file):
    name, output = shlex.split(convert_command(file))[2::2]
    assert name == f"./{file.removeprefix('./')}"
    assert output == f"{name.removesuffix('.jsonl')}.gemini.jsonl"


@pytest.mark.parametrize(
    ("file", "argument"),
    [
        ("train.jsonl", "train.jsonl"),
        ("my data.jsonl", "'my data.jsonl'"),
        ("new\nline.jsonl", r"$'new\012line.jsonl'"),
        ("it's \x1b[1m \\ é\u202e", r"$'it\'s \033[1m \\ é\342\200\256'"),
        ("bad\udcffname", r"$'bad\377name'"),
        ("-\t", r"$'./-\011'"),
    ],
)
def test_a_name_is_written_as_one_printable_word(file, argument):
    assert as_argument(file) == argument
    assert argument.isprintable()
