import json

import pytest
from tests.conftest import PROJECT

from gemini_tuning.dataset.convert.lines import convert_line
from gemini_tuning.dataset.convert.losses import Code
from gemini_tuning.dataset.lines.formats import Format


def convert(document, wanted=None):
    line = document if isinstance(document, bytes) else json.dumps(document).encode()
    done = convert_line(line, wanted, keep_weights=False)
    losses = [(loss.code, loss.path, loss.refused) for loss in done.losses]
    return done.data and json.loads(done.data), losses


def turns(*texts):
    return [{"role": role, "parts": [{"text": text}]} for role, text in zip(["user", "model"] * 9, texts, strict=False)]


def said(role, content):
    return {"role": role, "content": content}


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
        document, losses = convert({"question": "a", "answer": "b"}, wanted)
        assert document is None
        assert any(refused for _, _, refused in losses)


class TestLines:
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
            (b'{"contents": []}', "already-contents"),
            (b'{"contents": [], "completions": []}', "unsupported-format"),
            (b'{"conversations": []}', "unsupported-format"),
            (b'{"instruction": "a", "output": "b"}', "unsupported-format"),
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
        ):
            losses = convert_line(json.dumps(line).encode(), None, keep_weights=False).losses
            assert losses
            assert secret not in repr(losses)


def test_every_code_is_documented_once():
    text = (PROJECT / "include" / "datasets" / "CONVERTING.md").read_text(encoding="utf-8")
    rows = [line.split("`")[1] for line in text.splitlines() if line.startswith("| `")]
    assert sorted(row for row in rows if row in set(Code)) == sorted(Code)
    assert all(code.hint for code in Code)
