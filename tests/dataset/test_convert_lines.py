import json

import pytest
from tests.conftest import PROJECT

from gemini_tuning.dataset.convert.lines import convert_line
from gemini_tuning.dataset.convert.losses import Code
from gemini_tuning.dataset.lines.formats import PAIRS, Format


def convert(document, wanted=None):
    line = document if isinstance(document, bytes) else json.dumps(document).encode()
    done = convert_line(line, wanted, keep_weights=False)
    losses = [(loss.code, loss.path, loss.refused) for loss in done.losses]
    return done.data and json.loads(done.data), losses


def turns(*texts):
    return [{"role": role, "parts": [{"text": text}]} for role, text in zip(["user", "model"] * 9, texts, strict=False)]


def said(role, content):
    return {"role": role, "content": content}


def spoken(speaker, text):
    return {"from": speaker, "value": text}


def authored(author, content):
    return {"author": author, "content": content}


class TestGoogleFormats:
    @pytest.mark.parametrize(
        ("document", "expected"),
        [
            (
                {"messages": [said(role, role[0]) for role in ("system", "user", "model", "user", "model")]},
                {"systemInstruction": {"parts": [{"text": "s"}]}, "contents": turns("u", "m", "u", "m")},
            ),
            ({"messages": [said("user", "a"), said("model", "b")]}, {"contents": turns("a", "b")}),
            ({"input_text": "a", "output_text": "b"}, {"contents": turns("a", "b")}),
            (
                {"context": "s", "input_text": "a", "output_text": "b", "examples": []},
                {"systemInstruction": {"parts": [{"text": "s"}]}, "contents": turns("a", "b")},
            ),
            (
                {"context": "s", "messages": [authored("user", "a"), authored("bot", "b")]},
                {"systemInstruction": {"parts": [{"text": "s"}]}, "contents": turns("a", "b")},
            ),
            ({"text_input": "a", "output": "b"}, {"contents": turns("a", "b")}),
        ],
    )
    def test_nothing_is_lost(self, document, expected):
        assert convert(document) == (expected, [])

    @pytest.mark.parametrize(
        ("document", "losses"),
        [
            ({"input_text": "a"}, [("missing-field", "output_text", True)]),
            ({"output_text": "b"}, [("missing-field", "input_text", True)]),
            (
                {"input_text": 7, "output_text": ""},
                [
                    ("wrong-type", "input_text", True),
                    ("empty-message", "output_text", True),
                ],
            ),
            ({"input_text": "a", "output_text": "b", "context": 7}, [("wrong-type", "context", True)]),
            (
                {"input_text": "a", "output_text": "b", "examples": [{"input_text": "c", "output_text": "d"}]},
                [("few-shot-examples", "examples", False)],
            ),
            ({"text_input": "a", "output": "b", "id": 1}, [("field-left-out", "id", False)]),
            ({"text_input": "a"}, [("missing-field", "output", True)]),
            (
                {"messages": [said("user", "a"), said("model", "b"), said("system", "s")]},
                [("late-system-message", "messages[2]", True)],
            ),
            ({"messages": [said("model", "b")]}, [("first-turn", "messages", True)]),
            ({"messages": [said("user", None), said("model", "b")]}, [("wrong-type", "messages[0].content", True)]),
            ({"messages": [7, said("model", "b")]}, [("wrong-type", "messages[0]", True)]),
            ({"messages": [said([], "a"), said("model", "b")]}, [("unknown-role", "messages[0].role", True)]),
            (
                {"messages": [authored("user", "a"), authored("Grace", "b")]},
                [("unknown-role", "messages[1].author", True)],
            ),
        ],
    )
    def test_what_is_lost_or_refused_is_named(self, document, losses):
        assert convert(document)[1] == losses

    @pytest.mark.parametrize("wanted", [known for known in Format if known.convertible])
    def test_a_line_in_another_format_than_the_one_asked_for_is_refused(self, wanted):
        document, losses = convert({"ask": "a", "reply": "b"}, wanted)
        assert document is None
        assert any(refused for _, _, refused in losses)


class TestPairs:
    @pytest.mark.parametrize(("known", "keys"), PAIRS.items())
    def test_every_pair_of_names_becomes_a_question_and_its_answer(self, known, keys):
        question, answer = keys
        expected = {"systemInstruction": {"parts": [{"text": "s"}]}, "contents": turns("a", "b")}
        for wanted in (None, known):
            assert convert({answer: "b", question: "a", "system": "s"}, wanted) == (expected, [])

    @pytest.mark.parametrize("empty", ["", None, []])
    def test_what_else_belongs_to_the_prompt_may_be_empty(self, empty):
        document = {"instruction": "a", "input": empty, "history": empty, "output": "b"}
        assert convert(document) == ({"contents": turns("a", "b")}, [])

    @pytest.mark.parametrize(
        ("document", "path"),
        [
            ({"instruction": "a", "input": "i", "output": "b"}, "input"),
            ({"instruction": "a", "context": "i", "response": "b"}, "context"),
            ({"question": "a", "choices": ["i"], "answer": "b"}, "choices"),
            ({"prompt": "a", "history": [["i", "j"]], "completion": "b"}, "history"),
        ],
    )
    def test_how_more_than_one_text_makes_a_prompt_is_not_guessed(self, document, path):
        assert convert(document) == (None, [("part-of-prompt", path, True)])

    def test_other_fields_are_lost(self):
        assert convert({"question": "a", "answer": "b", "source": "c"})[1] == [("field-left-out", "source", False)]


class TestShareGPT:
    def test_text(self):
        said_ = [spoken("system", "s"), spoken("human", "a"), spoken("gpt", "b"), spoken("user", "c")]
        expected = {"systemInstruction": {"parts": [{"text": "s"}]}, "contents": turns("a", "b", "c", "d")}
        for key in ("conversations", "messages"):
            assert convert({key: [*said_, spoken("assistant", "d")]}) == (expected, [])
        document = {"system": "s", "conversations": [*said_[1:], spoken("assistant", "d")]}
        assert convert(document) == (expected, [])
        renamed = [{"role": turn["from"], "content": turn["value"]} for turn in document["conversations"]]
        assert convert({"system": "s", "conversations": renamed}) == (expected, [])

    @pytest.mark.parametrize("encode", [json.dumps, lambda document: document])
    @pytest.mark.parametrize("wrap", [lambda call: call, lambda call: [call]])
    @pytest.mark.parametrize(
        ("key", "speaker", "text"), [("conversations", "from", "value"), ("messages", "role", "content")]
    )
    def test_tool_calls_as_llamafactory_writes_them(self, encode, wrap, key, speaker, text):
        call = {"name": "tides", "arguments": {"port": "Cove"}}
        document, losses = convert({
            key: [
                {speaker: "human", text: "a"},
                {speaker: "gpt", text: "I look."},
                {speaker: "function_call", text: encode(wrap(call))},
                {speaker: "observation", text: '{"high": 4}'},
                {speaker: "gpt", text: "b"},
            ],
            "tools": encode([{"name": "tides", "description": "d", "parameters": {}}]),
        })
        assert losses == []
        assert document["tools"] == [{"functionDeclarations": [{"name": "tides", "description": "d"}]}]
        assert document["contents"][1:3] == [
            {
                "role": "model",
                "parts": [{"text": "I look."}, {"functionCall": {"name": "tides", "args": {"port": "Cove"}}}],
            },
            {"role": "user", "parts": [{"functionResponse": {"name": "tides", "response": {"high": 4}}}]},
        ]

    @pytest.mark.parametrize(
        ("turns_", "losses"),
        [
            ([("narrator", "a"), ("gpt", "b")], [("unknown-role", "conversations[0].from")]),
            ([("human", "a"), ("gpt", "<tool_call>"), ("tool", "c"), ("gpt", "b")], [("unpaired-call", [2])]),
            ([("human", "a"), ("function_call", "no"), ("gpt", "b")], [("bad-arguments", "conversations[1].value")]),
            ([("human", "a"), ("function_call", "[]"), ("gpt", "b")], [("bad-arguments", "conversations[1].value")]),
            ([("human", "a"), ("function_call", '["f"]')], [("wrong-type", "conversations[1].value")]),
            (
                [("human", "a"), ("function_call", '[{"name": "f"}, {"name": "f"}]'), ("observation", "c")],
                [("unpaired-call", [2])],
            ),
            ([("human", 7), ("gpt", "b")], [("wrong-type", "conversations[0].value")]),
        ],
    )
    def test_what_can_t_be_read_is_refused(self, turns_, losses):
        document, found = convert({"conversations": [spoken(*turn) for turn in turns_]})
        expected = [(code, path if isinstance(path, str) else f"conversations{path}", True) for code, path in losses]
        assert document is None
        assert list(dict.fromkeys(found)) == expected

    @pytest.mark.parametrize(
        ("turn", "loss"),
        [
            ({"value": "a"}, ("unknown-role", "conversations[0].role", True)),
            ({"from": "human"}, ("missing-field", "conversations[0].content", True)),
            ("a", ("wrong-type", "conversations[0]", True)),
            (spoken("human", "a") | {"role": "user"}, ("field-left-out", "conversations[0].role", False)),
            (spoken("human", "a") | {"mood": "calm"}, ("field-left-out", "conversations[0].mood", False)),
            (spoken("human", "a") | {"weight": 0}, None),
        ],
    )
    def test_the_fields_of_a_turn(self, turn, loss):
        assert convert({"conversations": [turn, spoken("gpt", "b")]})[1] == ([loss] if loss else [])

    def test_an_answer_s_weight_is_as_in_openai_s_messages(self):
        for answer in (spoken("gpt", "b"), spoken("function_call", '{"name": "f"}')):
            document = {"conversations": [spoken("human", "a"), answer | {"weight": 0}]}
            assert convert(document)[1] == [("training-weight", "conversations[1].weight", True)]

    def test_functions_are_declared_as_in_openai_s_messages(self):
        call = spoken("function_call", '{"name": "g"}')
        document = {"conversations": [spoken("human", "a"), call], "functions": [{"name": "f"}]}
        assert convert(document)[1] == [("undeclared-function", "conversations[1].value.name", True)]


class TestLines:
    def test_a_line_in_contents_is_handed_on_as_it_is(self):
        line = b'{ "contents":[], "systemInstructions": 1e0 }\r'
        assert convert_line(line, None, keep_weights=False) == (line + b"\n", None, [])
        assert convert(b'{"contents": [], "contents": []}') == (None, [("duplicate-key", None, True)])

    def test_of_a_refused_line_nothing_is_left_out(self):
        losses = convert({"messages": [said("user", "a") | {"name": "n"}, said("narrator", "b")], "seed": 1})[1]
        assert losses == [("unknown-role", "messages[1].role", True)]

    @pytest.mark.parametrize(
        ("line", "code"),
        [
            (b"{bad", "invalid-json"),
            (b'{"messages": [],}', "invalid-json"),
            (b'{"messages": NaN}', "invalid-json"),
            (b"\xff\xfe{\x00}\x00", "not-utf-8"),
            (b'{"prompt": "\xff", "completion": "b"}', "not-utf-8"),
            (b'\xef\xbb\xbf{"prompt": "a", "completion": "b"}', "byte-order-mark"),
            (rb'{"prompt": "\ud83d", "completion": "b"}', "lone-surrogate"),
            (b'{"id": ' + b"9" * 5000 + b"}", "invalid-json"),
            (b"[" * 5000, "nested-too-deep"),
            (b'{"prompt": "a", "prompt": "b", "completion": "c"}', "duplicate-key"),
            (b'{"prompt": "a", "prompt"\t : "\\u0022: ", "completion": "c"}', "duplicate-key"),
            (b'{"messages": [{"role": "user", "content": "a", "content": "b"}]}', "duplicate-key"),
            (b"[]", "not-an-object"),
            (b"null", "not-an-object"),
            (b'"words"', "not-an-object"),
            (b"{}", "unknown-format"),
            (b'{"question": "a"}', "unknown-format"),
            (b'{"contents": [], "completions": []}', "unsupported-format"),
            (b'{"instruction": "a", "instances": []}', "unsupported-format"),
            (b'{"text": "a"}', "unsupported-format"),
            (b'{"conversations": []}', "first-turn"),
        ],
    )
    def test_whatever_the_bytes_there_is_one_reason(self, line, code):
        document, losses = convert(line)
        assert document is None
        assert [(found, refused) for found, _, refused in losses] == [(code, True)]

    @pytest.mark.parametrize(
        ("argument", "code"), [("[" * 95 + "]" * 95, "nested-too-deep"), ("123456789012345678901", "long-integer")]
    )
    def test_arguments_that_no_line_can_hold_are_refused(self, argument, code):
        call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": f'{{"a": {argument}}}'}}
        messages = [said("user", "a"), {"role": "assistant", "tool_calls": [call]}]
        document = {"messages": messages, "functions": [{"name": "f"}]}
        assert convert(document) == (None, [(code, None, True)])

    @pytest.mark.parametrize(
        "text", ['": " \\": "', "a\u2028b\u0085c", "snow ☃ 😀", 'tab\tand "a" : 1', "1" * 40, "\u0022:"]
    )
    @pytest.mark.parametrize("ascii_", [True, False])
    def test_text_arrives_as_it_was_and_unescaped(self, text, ascii_):
        line = json.dumps({"prompt": text, "completion": "b"}, ensure_ascii=ascii_).encode()
        done = convert_line(line, None, keep_weights=False)
        assert done.losses == []
        assert json.loads(done.data)["contents"][0]["parts"] == [{"text": text}]
        assert done.data.count(b"\n") == 1
        assert done.data.endswith(b"\n")
        assert rb"\u" not in done.data

    def test_messages_show_keys_and_never_content(self):
        secret = "4111 1111 1111 1111"
        for line in (
            {"messages": [said(secret, secret), said("user", [{"type": secret, "text": secret}])]},
            {"messages": [{"role": "assistant", "tool_calls": [{"function": {"name": secret, "arguments": secret}}]}]},
            {"text_input": [secret], "output": {"a": secret}},
            {"question": secret},
            {"question": [secret], "answer": secret, "context": secret},
            {"conversations": [{"from": secret, "value": secret}, {"from": "function_call", "value": secret}]},
        ):
            losses = convert_line(json.dumps(line).encode(), None, keep_weights=False).losses
            assert losses
            assert secret not in repr(losses)


def test_every_code_is_documented_once():
    text = (PROJECT / "include" / "datasets" / "CONVERTING.md").read_text(encoding="utf-8")
    rows = [line.split("`")[1] for line in text.splitlines() if line.startswith("| `")]
    assert sorted(row for row in rows if row in set(Code)) == sorted(Code)
    assert all(code.hint for code in Code)


PAIR = {"question": "a", "answer": "b"}


class TestWrapped:
    @pytest.mark.parametrize(
        "example",
        [
            PAIR,
            {"messages": [said("user", "a"), said("assistant", "b")]},
            {"conversations": [spoken("human", "a"), spoken("gpt", "b")]},
            {"contents": turns("a", "b")},
        ],
    )
    @pytest.mark.parametrize("wanted", [None, Format.WRAPPED])
    def test_what_is_alone_in_an_object_is_unwrapped(self, example, wanted):
        assert convert({"item": example}, wanted) == ({"contents": turns("a", "b")}, [])

    def test_the_format_that_is_wanted_is_that_of_the_example(self):
        assert convert({"item": PAIR}, Format.QUESTION_ANSWER) == ({"contents": turns("a", "b")}, [])

    def test_places_are_those_of_the_line(self):
        assert convert({"the item": PAIR | {"id": 1}})[1] == [("field-left-out", "['the item'].id", False)]
        assert convert({"item": {"messages": [said("user", "a")]}})[1] == [("last-turn", "item.messages", True)]
        assert convert({"item": {"chosen": "a", "rejected": "b"}})[1] == [("unsupported-format", "item", True)]

    def test_beside_anything_else_it_is_refused_and_named(self):
        line = json.dumps({"run": "r", "item": PAIR, "grades": []}).encode()
        done = convert_line(line, None, keep_weights=False)
        assert done.data is None
        assert [(loss.code, "'item'" in loss.hint) for loss in done.losses] == [("unknown-format", True)]


def test_every_format_that_is_read_is_documented():
    text = (PROJECT / "include" / "datasets" / "CONVERTING.md").read_text(encoding="utf-8")
    assert [known for known in Format if known.convertible and f"`{known}`" not in text] == []
