import json

import pytest

from gemini_tuning.dataset.lines import judge
from gemini_tuning.dataset.lines.examples import example
from gemini_tuning.dataset.lines.parsing import parse
from gemini_tuning.dataset.lines.rules import Rules

GOOD = {
    "contents": [
        {"role": "user", "parts": [{"text": "Where is my parcel?"}]},
        {"role": "model", "parts": [{"text": "On its way."}]},
    ]
}


SECRET = "my card 4111 1111 1111 1111"


def turn(role, text="words"):
    return {"role": role, "parts": [{"text": text}]}


def faults(document):
    return judge.faults(document, Rules())


def codes(document):
    return [fault.code for fault in faults(document)]


class TestParse:
    @pytest.mark.parametrize(
        ("line", "code"),
        [
            (b"", "blank-line"),
            (b"   \r", "blank-line"),
            (b"\xef\xbb\xbf{}", "byte-order-mark"),
            (b'{"a": "\xff"}', "not-utf-8"),
            (b'{"a": 1,}', "invalid-json"),
            (b'{"a": NaN}', "invalid-json"),
            (b'{"a": ' + b"1" * 5000 + b"}", "invalid-json"),
            (b'{"a": 1, "a": 2}', "duplicate-key"),
            (rb'{"a": "cut \ud83d"}', "lone-surrogate"),
            (rb'{"\uDE00": 1}', "lone-surrogate"),
            (b'{"contents": [{"role": "user", "role": "model"}]}', "duplicate-key"),
            (b"[" * 100_000, "nested-too-deep"),
        ],
    )
    def test_a_line_that_is_no_example_gets_its_own_code(self, line, code):
        document, fault = parse(line)
        assert document is None
        assert fault.code == code
        assert fault.hint

    def test_the_column_of_broken_json_is_told(self):
        _, fault = parse(b'{"contents" []}')
        assert fault.column == 13

    def test_an_escaped_emoji_is_a_character(self):
        assert parse(rb'{"a": "\ud83d\ude00"}') == ({"a": "😀"}, None)

    def test_carriage_returns_and_separators_inside_strings_are_no_fault(self):
        document, fault = parse('{"a": "x\u2028y"}\r'.encode())
        assert fault is None
        assert document == {"a": "x\u2028y"}


class TestShape:
    def test_a_good_line_has_no_faults(self):
        assert faults(GOOD) == []

    def test_snake_case_is_as_good_as_camel_case(self):
        parts = [{"file_data": {"mime_type": "image/png", "file_uri": "gs://b/i.png"}}, {"text": "What is it?"}]
        line = {
            "system_instruction": {"parts": [{"text": "Be brief."}]},
            "contents": [{"role": "user", "parts": parts}, turn("model")],
        }
        assert faults(line) == []

    def test_tool_calls_as_google_prints_them_are_good(self):
        line = {
            "contents": [
                turn("user"),
                {"role": "model", "parts": [{"functionCall": {"name": "find", "args": {"q": "x"}}}]},
                {"parts": [{"functionResponse": {"name": "find", "response": {"found": 1}}}]},
                turn("model"),
            ],
            "tools": [{"functionDeclarations": [{"name": "find", "parameters": {"type": "OBJECT"}}]}],
        }
        assert faults(line) == []

    @pytest.mark.parametrize(
        ("line", "code", "path"),
        [
            ({}, "missing-field", None),
            ([], "wrong-type", None),
            ("text", "wrong-type", None),
            ({"contents": []}, "empty-list", "contents"),
            ({"contents": [{"role": "user"}]}, "missing-field", "contents[0]"),
            ({"contents": [turn("assistant")]}, "wrong-value", "contents[0].role"),
            ({"contents": [turn("user", " \n")]}, "empty-text", "contents[0].parts[0].text"),
            ({"contents": [turn("user", 7)]}, "wrong-type", "contents[0].parts[0].text"),
            ({"contents": [{"role": "user", "parts": [{}]}]}, "part-members", "contents[0].parts[0]"),
        ],
    )
    def test_a_fault_is_named_at_its_path(self, line, code, path):
        fault = faults(line)[0]
        assert (fault.code, fault.path) == (code, path)

    def test_an_unknown_field_comes_with_a_suggestion(self):
        (fault,) = faults({**GOOD, "systemInstructions": {}})
        assert fault.code == "unknown-field"
        assert fault.hint == "Did you mean 'systemInstruction'?"

    def test_a_local_path_is_no_file_uri(self):
        line = {
            "contents": [
                {"role": "user", "parts": [{"fileData": {"mimeType": "image/png", "fileUri": "/me/cat.png"}}]},
                turn("model"),
            ]
        }
        assert codes(line) == ["wrong-uri"]

    def test_every_fault_of_a_line_is_found_at_once(self):
        line = {"contents": [turn("assistant"), turn("user", "")], "tool": []}
        assert sorted(codes(line)) == ["empty-text", "unknown-field", "wrong-value"]

    @pytest.mark.parametrize(
        "line",
        [
            {"contents": [{"role": "user", "parts": [{"text": SECRET, "fileData": SECRET}]}]},
            {"contents": [{"role": SECRET, "parts": SECRET}]},
            {"contents": SECRET, "tools": SECRET},
            {"contents": [turn("user")], "generationConfig": {"mediaResolution": SECRET}},
            {"contents": [{"parts": [{"fileData": {"fileUri": SECRET}}]}]},
        ],
    )
    def test_faults_never_quote_the_conversation(self, line):
        found = json.dumps([fault._asdict() for fault in faults(line)])
        assert "4111" not in found
        assert found != "[]"

    def test_every_missing_field_is_named(self):
        line = {"contents": [{"parts": [{"functionResponse": {}}]}, turn("model")]}
        assert {fault.message for fault in faults(line)} == {
            "field 'name' is missing",
            "field 'response' is missing",
        }


class TestConversation:
    @pytest.mark.parametrize(
        ("roles", "expected"),
        [
            (["user", "model"], []),
            (["user", "model", "user", "model"], []),
            (["user"], ["last-turn"]),
            (["model"], ["first-turn"]),
            (["user", "user", "model"], ["same-role-twice"]),
            (["user", "model", "user"], ["last-turn"]),
        ],
    )
    def test_the_order_of_turns(self, roles, expected):
        assert codes({"contents": [turn(role) for role in roles]}) == expected

    def test_a_turn_without_a_role_speaks_for_the_user(self):
        assert codes({"contents": [{"parts": [{"text": "hello"}]}, turn("model")]}) == []


def test_the_numbers_of_an_example_count_all_of_its_text():
    line = {**GOOD, "systemInstruction": {"parts": [{"text": "Be kind."}]}}
    found = example(line, {})
    assert found.roles == ("user", "model")
    assert found.characters == len("Where is my parcel?On its way.Be kind.")
