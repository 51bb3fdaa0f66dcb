import json

import pytest

from gemini_tuning.dataset.lines import declarations, judge
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

    def test_an_unknown_field_is_named_by_its_path_too(self):
        line = {"contents": [{**turn("user"), "weight": 1}, turn("model")], "x y": 1, "k" * 500: 1}
        assert [fault.path for fault in faults(line)] == ["k" * 80, "['x y']", "contents[0].weight"]

    @pytest.mark.parametrize(
        ("role", "hint"),
        [
            ("system", "Move its text into systemInstruction, before contents."),
            ("Developer", "Move its text into systemInstruction, before contents."),
            ("assistant", "Write 'model'."),
            ("USER", "Write 'user'."),
            ("Model", "Write 'model'."),
            ("human", "Write 'user'."),
            ("function", "Write 'user', or leave the role out; what a function gave back is a functionResponse."),
            ("tool", "Write 'user', or leave the role out; what a function gave back is a functionResponse."),
            ("clerk", "Write one of 'user', 'model'."),
            (None, "Write one of 'user', 'model'."),
        ],
    )
    def test_a_wrong_role_gets_the_remedy_that_fits_it(self, role, hint):
        (fault,) = faults({"contents": [turn(role), turn("model")]})
        assert (fault.code, fault.hint) == ("wrong-value", hint)

    @pytest.mark.parametrize(
        ("uri", "message"),
        [
            ("gs://bucket", "a gs:// URI without a bucket or without an object"),
            ("gs://bucket/", "a gs:// URI without a bucket or without an object"),
            ("gs:///a.png", "a gs:// URI without a bucket or without an object"),
            ("gs://bucket/a b.png", "a URI with white space in it"),
            ("gs://bucket/a.png\n", "a URI with white space in it"),
            ("https:///a.png", "not a gs:// or http(s):// URI"),
            ("C:/a.png", "not a gs:// or http(s):// URI"),
            ("gs://bucket/a.png", None),
            ("gs://bucket/a/b/", None),
            ("http://example.com", None),
            ("https://example.com/a.png?b=c#d", None),
        ],
    )
    def test_a_file_is_named_by_a_uri_that_can_exist(self, uri, message):
        part = {"fileData": {"mimeType": "image/png", "fileUri": uri}}
        found = faults({"contents": [{"role": "user", "parts": [part]}, turn("model")]})
        assert [(fault.code, fault.message) for fault in found] == ([("wrong-uri", message)] if message else [])

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


def calling(name, tools, part=None):
    call = part or {"functionCall": {"name": name, "args": {}}}
    return {"contents": [turn("user"), {"role": "model", "parts": [call]}], "tools": tools}


class TestFunctions:
    def test_a_path_has_the_spelling_of_the_line(self):
        tools = [{"function_declarations": [{"name": "find"}]}]
        (fault,) = faults(calling("fnd", tools, {"function_call": {"name": "fnd", "args": {}}}))
        assert (fault.code, fault.path) == ("undeclared-function", "contents[1].parts[0].function_call.name")
        assert faults(calling("fnd", tools))[0].path == "contents[1].parts[0].functionCall.name"

    @pytest.mark.parametrize(("name", "said"), [("fnd", "function 'fnd' is called"), (SECRET, "a function is called")])
    def test_a_name_that_may_be_private_is_not_told(self, name, said):
        (fault,) = faults(calling(name, [{"functionDeclarations": [{"name": "find"}]}]))
        assert fault.message == f"{said}, but not declared in tools"

    @pytest.mark.parametrize(
        ("function", "path", "hint"),
        [
            ({"paramters": {}}, "paramters", "Did you mean 'parameters'?"),
            ({"strict": True}, "strict", "Leave it out, unless Google lists it by now."),
            ({"parameters": {"propertys": {}}}, "parameters.propertys", "Did you mean 'properties'?"),
            (
                {"parameters": {"properties": {"typ": {"typ": "STRING"}}}},
                "parameters.properties.typ.typ",
                "Did you mean 'type'?",
            ),
            ({"parameters": {"items": {"$ref": "x"}}}, "parameters.items['$ref']", "Did you mean 'ref'?"),
            (
                {"response": {"any_of": [{}, {"descripton": "x"}]}},
                "response.any_of[1].descripton",
                "Did you mean 'description'?",
            ),
            ({"parameters": {"defs": {"a b": {"enums": []}}}}, "parameters.defs['a b'].enums", "Did you mean 'enum'?"),
        ],
    )
    def test_a_field_google_does_not_list_is_a_warning_with_a_suggestion(self, function, path, hint):
        line = {**GOOD, "tools": [{"functionDeclarations": [{"name": "find", **function}]}]}
        (fault,) = faults(line)
        assert fault.code == "unknown-declaration-field"
        assert fault.path == f"tools[0].functionDeclarations[0].{path}"
        assert fault.hint == hint
        assert Rules().severities[fault.code] == "warning"

    @pytest.mark.parametrize(
        "function",
        [
            {"parameters_json_schema": {"$schema": "x", "anything": {"goes": 1}}, "behavior": "BLOCKING"},
            {"parameters": {"additional_properties": {"type": "STRING"}, "min_items": 1, "example": {"typ": 1}}},
            {
                "parameters": {
                    "properties": [],
                    "items": "x",
                    "anyOf": {},
                    "additionalProperties": False,
                    "default": {"x": 1},
                }
            },
        ],
    )
    def test_fields_google_lists_raise_nothing(self, function):
        assert faults({**GOOD, "tools": [{"functionDeclarations": [{"name": "find", **function}]}, {}]}) == []

    def test_the_fields_are_those_that_google_lists(self):
        from google.genai import types

        for listed, known in (
            (types.FunctionDeclaration, declarations.FUNCTION_FIELDS),
            (types.Schema, declarations.SCHEMA_FIELDS),
        ):
            assert {field.alias or name for name, field in listed.model_fields.items()} == known


class TestFiles:
    RULES = Rules(
        media_types=dict.fromkeys(["image/png", "image/jpeg", "image/webp"], "image") | {"audio/wav": "audio"}
    )

    def found(self, role, kind):
        part = {"fileData": {"mimeType": kind, "fileUri": "gs://b/f"}}
        turns = [{"role": one, "parts": [part] if one == role else [{"text": "x"}]} for one in ("user", "model")]
        return judge.faults({"contents": turns}, self.RULES)

    def test_a_file_of_the_model_is_a_warning(self):
        (fault,) = self.found("model", "image/png")
        assert (fault.code, fault.path) == ("misplaced-file", "contents[1].parts[0].fileData")
        assert Rules().severities[fault.code] == "warning"
        assert self.found("user", "image/png") == []

    @pytest.mark.parametrize(
        ("kind", "hint"),
        [
            ("image/jpg", "Did you mean 'image/jpeg'?"),
            ("audio/x-wav", "Did you mean 'audio/wav'?"),
            ("image/tiff", "Taken are image/jpeg, image/png, image/webp."),
            ("model/gltf", "Taken are audio/wav, image/jpeg, image/png, image/webp."),
        ],
    )
    def test_a_type_the_service_does_not_take(self, kind, hint):
        (fault,) = self.found("user", kind)
        assert (fault.code, fault.hint) == ("unsupported-media", hint)


def test_the_numbers_of_an_example_count_all_of_its_text():
    line = {**GOOD, "systemInstruction": {"parts": [{"text": "Be kind."}]}}
    found = example(line, {})
    assert found.roles == ("user", "model")
    assert found.characters == len("Where is my parcel?On its way.Be kind.")
