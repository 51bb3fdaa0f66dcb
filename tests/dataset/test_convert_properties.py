"""Whatever a conversation holds: it becomes a line that the check accepts, or is reported; no text goes missing."""

import copy
import json

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gemini_tuning.dataset.check import check_dataset
from gemini_tuning.dataset.convert.lines import convert_line
from gemini_tuning.dataset.lines.formats import PAIRS
from gemini_tuning.tuning.models import ModelTable

BOUNDED = settings(
    derandomize=True,
    database=None,
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
MODELS = ModelTable.load()
FUNCTIONS = ("tide_table", "harbour_weather", "_radio")

words = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12).filter(str.strip)
leaves = st.none() | st.booleans() | st.integers(-(2**60), 2**60) | words
objects = st.dictionaries(
    words, st.recursive(leaves, lambda inner: st.lists(inner, max_size=2), max_leaves=3), max_size=3
)
images = st.sampled_from(["gs://harbour/chart.png", "https://harbour.example/a.jpeg?b=c"])


def part(text):
    return {"type": "text", "text": text}


texts = words | st.lists(words.map(part), min_size=1, max_size=3)
questions = texts | st.tuples(words.map(part), images.map(lambda url: {"type": "image_url", "image_url": {"url": url}}))


@st.composite
def exchanges(draw):
    """A question, perhaps calls with their responses in any order, and an answer."""
    messages = [{"role": "user", "content": draw(questions)} for _ in range(draw(st.integers(1, 2)))]
    for turn in range(draw(st.integers(0, 2))):
        made = draw(st.lists(st.tuples(st.sampled_from(FUNCTIONS), objects), min_size=1, max_size=3))
        calls = [
            {"id": f"{turn}-{i}", "type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}
            for i, (name, arguments) in enumerate(made)
        ]
        messages.append({"role": "assistant", "content": draw(st.none() | words), "tool_calls": calls})
        responses = [
            {"role": "tool", "tool_call_id": call["id"], "content": draw(texts | objects.map(json.dumps))}
            for call in calls
        ]
        messages += draw(st.permutations(responses))
    messages.append({"role": "assistant", "content": draw(texts)} | draw(st.sampled_from([{}, {"weight": 1}])))
    return messages


@st.composite
def conversations(draw):
    system = [{"role": role, "content": draw(texts)} for role in draw(st.sampled_from([[], ["system", "developer"]]))]
    messages = [message for exchange in draw(st.lists(exchanges(), min_size=1, max_size=2)) for message in exchange]
    tools = [{"type": "function", "function": {"name": name, "description": draw(words)}} for name in FUNCTIONS]
    return {"messages": system + messages, "tools": tools}


pairs = st.one_of(
    st.fixed_dictionaries({"input_text": words, "output_text": words}, optional={"context": words}),
    st.tuples(st.sampled_from(list(PAIRS.values())), st.tuples(words, words)).map(
        lambda pair: dict(zip(*pair, strict=True))
    ),
    st.tuples(words, words).map(
        lambda texts: {
            "messages": [{"role": role, "content": text} for role, text in zip(["user", "model"], texts, strict=True)]
        }
    ),
)

odd_values = st.sampled_from([
    None,
    0,
    1.5,
    True,
    "",
    " ",
    "words",
    "user",
    "assistant",
    "tool",
    "system",
    "{}",
    "[",
    [],
    {},
    [[]],
    {"type": "text"},
])


@st.composite
def damaged(draw):
    """A conversation in which some nodes were replaced, removed or repeated."""
    document = copy.deepcopy(draw(conversations() | pairs))
    for _ in range(draw(st.integers(1, 3))):
        holder = document
        while True:
            keys = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
            if not keys:
                break
            key = draw(st.sampled_from(keys))
            if isinstance(holder[key], dict | list) and draw(st.integers(0, 4)):
                holder = holder[key]
                continue
            match draw(st.sampled_from(["replace", "remove", "repeat"])):
                case "replace":
                    holder[key] = copy.deepcopy(draw(odd_values))
                case "remove":
                    del holder[key]
                case _ if isinstance(holder, list):
                    holder.insert(key, copy.deepcopy(holder[key]))
            break
    return document


def marked(document):
    """Number every text that is said, so that none can hide in another; return the document and the texts."""
    texts = []

    def mark(text):
        if text.startswith(("{", "[")):  # a function's response in JSON
            return text
        texts.append(f"<{len(texts)}> {text}")
        return texts[-1]

    document = copy.deepcopy(document)
    for holder in (document, *document.get("messages", [])):
        for key, value in holder.items():
            if isinstance(value, str) and key not in {"role", "tool_call_id"}:
                holder[key] = mark(value)
        if isinstance(holder.get("content"), list):
            for item in holder["content"]:
                if "text" in item:
                    item["text"] = mark(item["text"])
    return document, texts


def strings(node):
    """Return every string below a node that is no key."""
    if isinstance(node, dict | list):
        inside = node.values() if isinstance(node, dict) else node
        return [text for value in inside for text in strings(value)]
    return [node] if isinstance(node, str) else []


def arguments_before(document):
    calls = [call for message in document.get("messages", []) for call in message.get("tool_calls", [])]
    return [json.loads(call["function"]["arguments"]) for call in calls]


def arguments_after(converted):
    parts = [part for turn in converted["contents"] for part in turn["parts"]]
    return [part["functionCall"]["args"] for part in parts if "functionCall" in part]


def accepted(documents, folder):
    """Put the lines through the real check."""
    path = folder / "converted.jsonl"
    path.write_bytes(b"".join(documents))
    report = check_dataset(
        str(path), None, base_model="gemini-2.5-flash", epochs=1, models=MODELS, root=None, storage=None
    )
    assert [str(error) for error in report.errors] == []
    assert report.accepted


def convert(document):
    return convert_line(json.dumps(document).encode(), None, keep_weights=False)


@BOUNDED
@given(st.lists(conversations() | pairs, min_size=1, max_size=5))
def test_good_lines_are_accepted_by_the_check_and_every_text_is_there_once(tmp_path, documents):
    numbered = [marked(document) for document in documents]
    done = [convert(document) for document, _ in numbered]
    for (document, texts), one in zip(numbered, done, strict=True):
        assert one.losses == []
        converted = json.loads(one.data)
        everything = "\0".join(strings(converted))
        assert [everything.count(text) for text in texts] == [1] * len(texts)
        assert arguments_after(converted) == arguments_before(document)
    accepted([one.data for one in done], tmp_path)


@settings(BOUNDED, max_examples=200)
@given(damaged())
def test_damaged_lines_are_reported_or_pass_the_check(tmp_path, document):
    done = convert(document)
    if done.data is None:
        assert any(loss.refused for loss in done.losses)
        assert all(loss.message and loss.hint for loss in done.losses)
    else:
        assert not any(loss.refused for loss in done.losses)
        accepted([done.data], tmp_path)


@settings(BOUNDED, max_examples=200)
@given(st.binary(max_size=40) | st.tuples(conversations().map(json.dumps), st.integers(0, 400), st.binary(max_size=3)))
def test_bytes_of_any_kind_end_with_a_line_or_a_reason(data):
    if isinstance(data, tuple):
        line, place, junk = data
        line = line.encode()
        data = line[:place] + junk + line[place + len(junk) :]
    done = convert_line(data, None, keep_weights=True)
    assert (done.data is None) == any(loss.refused for loss in done.losses)
