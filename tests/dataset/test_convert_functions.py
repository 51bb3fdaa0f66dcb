import pytest

from gemini_tuning.dataset.convert.functions import declarations
from gemini_tuning.dataset.convert.losses import Notes


def declare(**function):
    """Return the one declaration and the losses as (code, path, refused), with the path from the function on."""
    notes = Notes()
    [declaration] = declarations({"tools": [{"type": "function", "function": {"name": "f", **function}}]}, notes)
    return declaration, [(loss.code, cut(loss.path), loss.refused) for loss in notes.losses]


def cut(path):
    return path.removeprefix("tools[0].function.")


def schema(**keywords):
    """Return what a parameter's schema becomes, and its losses as (code, path below the parameter)."""
    declaration, losses = declare(parameters={"type": "object", "properties": {"p": keywords}})
    start = "parameters.properties.p"
    assert all(path.startswith(start) and not refused for _, path, refused in losses)
    return declaration["parameters"]["properties"]["p"], [(code, path[len(start) + 1 :]) for code, path, _ in losses]


@pytest.mark.parametrize(
    ("keywords", "expected"),
    [
        ({"type": "integer", "minimum": 1, "maximum": 9}, {"type": "INTEGER", "minimum": 1, "maximum": 9}),
        ({"type": "number", "default": 0.5}, {"type": "NUMBER", "default": 0.5}),
        ({"type": "boolean", "description": "Wait?"}, {"type": "BOOLEAN", "description": "Wait?"}),
        ({"type": "string", "format": "date", "pattern": "^2"}, {"type": "STRING", "format": "date", "pattern": "^2"}),
        ({"type": ["string", "null"]}, {"type": "STRING", "nullable": True}),
        ({"type": ["string"]}, {"type": "STRING"}),
        ({"type": "string", "enum": ["a", "b"]}, {"type": "STRING", "enum": ["a", "b"]}),
        ({"enum": ["a", None]}, {"type": "STRING", "enum": ["a"], "nullable": True}),
        ({"type": "integer", "enum": [1, 2]}, {"type": "INTEGER", "enum": ["1", "2"]}),
        ({"enum": [1, 2]}, {"type": "INTEGER", "enum": ["1", "2"]}),
        ({"const": "a"}, {"type": "STRING", "enum": ["a"]}),
        (
            {"type": "array", "items": {"type": "string"}, "maxItems": 3},
            {"type": "ARRAY", "items": {"type": "STRING"}, "maxItems": 3},
        ),
        (
            {"type": "object", "properties": {"type": {"type": "string"}}, "required": ["type"]},
            {"type": "OBJECT", "properties": {"type": {"type": "STRING"}}, "required": ["type"]},
        ),
        (
            {"anyOf": [{"type": "string"}, {"type": "null"}]},
            {"anyOf": [{"type": "STRING"}, {"type": "NULL"}]},
        ),
        ({"type": "object", "additionalProperties": False}, {"type": "OBJECT", "additionalProperties": False}),
        (
            {"type": "object", "additionalProperties": {"type": "string"}},
            {"type": "OBJECT", "additionalProperties": {"type": "STRING"}},
        ),
        ({"$ref": "#/$defs/Place"}, {"ref": "#/defs/Place"}),
        ({"type": "string", "format": None}, {"type": "STRING"}),
        ({}, {}),
    ],
)
def test_what_has_a_counterpart_loses_nothing(keywords, expected):
    assert schema(**keywords) == (expected, [])


@pytest.mark.parametrize(
    ("keywords", "left", "path"),
    [
        ({"type": "string", "minLength": "3"}, {"type": "STRING"}, "minLength"),
        ({"type": "number", "exclusiveMinimum": 0}, {"type": "NUMBER"}, "exclusiveMinimum"),
        ({"type": "number", "enum": [0.5]}, {"type": "NUMBER"}, "enum"),
        ({"type": "text"}, {}, "type"),
        ({"type": {}}, {}, "type"),
        ({"type": []}, {}, "type"),
        ({"type": ["string", "integer"]}, {"anyOf": [{"type": "STRING"}, {"type": "INTEGER"}]}, "type"),
        ({"oneOf": [{"type": "string"}]}, {"anyOf": [{"type": "STRING"}]}, "oneOf"),
        ({"anyOf": "x"}, {}, "anyOf"),
        ({"allOf": [{"type": "string"}]}, {}, "allOf"),
        ({"type": "array", "items": [{"type": "string"}]}, {"type": "ARRAY", "items": {}}, "items"),
        ({"properties": ["x"]}, {}, "properties"),
        ({"$ref": "https://harbour.example/place.json"}, {}, "$ref"),
        ({"type": "object", "$defs": {"A": {}}}, {"type": "OBJECT"}, "$defs"),
        ({"anyOf": [{"type": "string"}], "oneOf": []}, {"anyOf": [{"type": "STRING"}]}, "oneOf"),
    ],
)
def test_what_has_none_is_named(keywords, left, path):
    mapped, losses = schema(**keywords)
    assert mapped == left
    assert {code for code, _ in losses} == {"schema-keyword"}
    assert {where.strip("[]'") for _, where in losses} == {path}


def test_two_keywords_for_one_place_are_not_merged_in_silence():
    mapped, losses = schema(type=["string", "integer"], anyOf=[{"type": "boolean"}])
    assert mapped == {"anyOf": [{"type": "STRING"}, {"type": "INTEGER"}]}
    assert losses == [("schema-keyword", "type"), ("schema-keyword", "anyOf")]


def test_definitions_stay_at_the_root():
    parameters = {"type": "object", "properties": {"p": {"$ref": "#/$defs/P"}}, "$defs": {"P": {"type": "string"}}}
    assert declare(parameters=parameters) == (
        {
            "name": "f",
            "parameters": {
                "type": "OBJECT",
                "properties": {"p": {"ref": "#/defs/P"}},
                "defs": {"P": {"type": "STRING"}},
            },
        },
        [],
    )


@pytest.mark.parametrize(
    "parameters",
    [None, {}, {"type": "object"}, {"type": "object", "properties": {}, "required": [], "additionalProperties": False}],
)
def test_a_function_without_arguments_declares_none(parameters):
    assert declare(parameters=parameters) == ({"name": "f"}, [])


def test_what_is_said_about_no_arguments_is_lost():
    assert declare(parameters={"type": "object", "title": "Nothing", "properties": {}}) == (
        {"name": "f"},
        [("schema-keyword", "parameters.title", False)],
    )


def test_free_arguments_are_kept_free():
    parameters = {"type": "object", "properties": {}, "additionalProperties": True}
    assert declare(parameters=parameters) == (
        {"name": "f", "parameters": {"type": "OBJECT", "additionalProperties": True}},
        [],
    )


def test_the_type_of_arguments_is_an_object_even_if_unsaid():
    declaration, losses = declare(parameters={"properties": {"p": {"type": "string"}}})
    assert declaration["parameters"] == {"type": "OBJECT", "properties": {"p": {"type": "STRING"}}}
    assert losses == []


@pytest.mark.parametrize(
    ("function", "losses"),
    [
        ({"strict": True}, [("field-left-out", "strict", False)]),
        ({"strict": False}, []),
        ({"description": 7}, [("wrong-type", "description", True)]),
        ({"parameters": []}, [("wrong-type", "parameters", True)]),
        ({"name": "no spaces"}, [("function-name", "name", True)]),
        ({"name": "1st"}, [("function-name", "name", True)]),
        ({"name": "x" * 65}, [("function-name", "name", True)]),
        ({"name": "line\n"}, [("function-name", "name", True)]),
        ({"name": None}, [("function-name", "name", True)]),
    ],
)
def test_the_other_fields_of_a_function(function, losses):
    assert declare(**function)[1] == losses


@pytest.mark.parametrize(
    ("document", "code", "path"),
    [
        ({"tools": {}}, None, None),
        ({"tools": "f"}, "wrong-type", "tools"),
        ({"tools": "{}"}, None, None),
        ({"tools": '{"a": 1}'}, "wrong-type", "tools"),
        ({"tools": '[{"type": "web_search"}]'}, "unsupported-tool", "tools[0]"),
        ({"tools": [{"type": "web_search"}]}, "unsupported-tool", "tools[0]"),
        ({"tools": ["f"]}, "unsupported-tool", "tools[0]"),
        ({"tools": [{"type": "function", "function": "f"}]}, "wrong-type", "tools[0].function"),
        ({"functions": ["f"]}, "wrong-type", "functions[0]"),
        ({"tools": [{"type": "function", "name": "f"}], "functions": [{"name": "f"}]}, "function-name", "tools"),
        ({"tools": [{"type": "function", "name": {}}]}, "function-name", "tools[0].name"),
    ],
)
def test_what_is_no_tool_is_refused(document, code, path):
    notes = Notes()
    declarations(document, notes)
    assert [(loss.code, loss.path) for loss in notes.losses if loss.refused] == ([(code, path)] if code else [])


def test_a_tool_may_write_its_function_s_fields_beside_its_type():
    notes = Notes()
    assert declarations({"tools": [{"type": "function", "name": "f", "description": "d"}]}, notes) == [
        {"name": "f", "description": "d"}
    ]
    assert notes.losses == []
