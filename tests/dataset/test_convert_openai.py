import json

import pytest

from gemini_tuning.dataset.convert.lines import convert_line
from gemini_tuning.dataset.lines import judge
from gemini_tuning.dataset.lines.rules import Rules

WEATHER = {
    "type": "function",
    "function": {
        "name": "harbour_weather",
        "description": "The weather at a harbour.",
        "parameters": {"type": "object", "properties": {"harbour": {"type": "string"}}, "required": ["harbour"]},
    },
}
ASK = {"role": "user", "content": "May I sail today?"}
REPLY = {"role": "assistant", "content": "Stay ashore."}
DECLARED = [
    {
        "functionDeclarations": [
            {
                "name": "harbour_weather",
                "description": "The weather at a harbour.",
                "parameters": {
                    "type": "OBJECT",
                    "properties": {"harbour": {"type": "STRING"}},
                    "required": ["harbour"],
                },
            }
        ]
    }
]


def convert(document, *, keep_weights=False):
    """Return the converted document, or None, and the losses as (code, path, refused)."""
    done = convert_line(json.dumps(document).encode(), None, keep_weights=keep_weights)
    losses = [(loss.code, loss.path, loss.refused) for loss in done.losses]
    assert (done.data is None) == any(refused for _, _, refused in losses)
    return done.data and json.loads(done.data), losses


def chat(*messages, **fields):
    return convert({"messages": list(messages), **fields})


def call(name="harbour_weather", arguments='{"harbour": "Cove"}', id_="c1"):
    return {"id": id_, "type": "function", "function": {"name": name, "arguments": arguments}}


def calls(*made, **fields):
    return {"role": "assistant", "content": None, "tool_calls": list(made), **fields}


def response(content, id_="c1", **fields):
    return {"role": "tool", "tool_call_id": id_, "content": content, **fields}


def text(role, *texts):
    return {"role": role, "parts": [{"text": text} for text in texts]}


class TestText:
    def test_a_plain_chat_loses_nothing(self):
        assert chat({"role": "system", "content": "Be brief."}, ASK, REPLY) == (
            {
                "systemInstruction": {"parts": [{"text": "Be brief."}]},
                "contents": [text("user", "May I sail today?"), text("model", "Stay ashore.")],
            },
            [],
        )

    def test_prompt_and_completion(self):
        assert convert({"prompt": " ask", "completion": " answer\n"}) == (
            {"contents": [text("user", " ask"), text("model", " answer\n")]},
            [],
        )

    def test_every_fault_of_a_pair_is_named(self):
        assert convert({"prompt": ["ask"], "completion": " "})[1] == [
            ("wrong-type", "prompt", True),
            ("empty-message", "completion", True),
        ]

    def test_messages_of_one_role_in_a_row_become_parts_of_one_turn(self):
        document, losses = chat(ASK, {"role": "user", "content": "Well?"}, REPLY, REPLY)
        assert document["contents"] == [
            text("user", "May I sail today?", "Well?"),
            text("model", "Stay ashore.", "Stay ashore."),
        ]
        assert losses == []

    def test_parts_of_text_stay_apart(self):
        parts = [{"type": "text", "text": "One."}, {"type": "text", "text": "Two."}]
        document, losses = chat({"role": "user", "content": parts}, {"role": "assistant", "content": parts})
        assert document["contents"] == [text("user", "One.", "Two."), text("model", "One.", "Two.")]
        assert losses == []

    def test_the_name_of_a_speaker_is_lost_and_said_so(self):
        assert chat(ASK | {"name": "mate"}, REPLY)[1] == [("field-left-out", "messages[0].name", False)]

    def test_other_fields_are_lost_one_by_one_and_empty_ones_are_none(self):
        losses = chat(
            ASK,
            REPLY | {"audio": None, "annotations": [], "reasoning_content": "Hm."},
            parallel_tool_calls=False,
            metadata={},
            seed=0,
        )[1]
        assert losses == [
            ("field-left-out", "parallel_tool_calls", False),
            ("field-left-out", "seed", False),
            ("field-left-out", "messages[1].reasoning_content", False),
        ]

    def test_odd_keys_are_quoted_in_paths(self):
        assert chat(ASK, REPLY, **{"a key": 1})[1] == [("field-left-out", "['a key']", False)]

    @pytest.mark.parametrize(
        ("messages", "code", "path"),
        [
            ([], "first-turn", "messages"),
            ([ASK], "last-turn", "messages"),
            ([REPLY], "first-turn", "messages"),
            ([ASK, REPLY, ASK], "last-turn", "messages"),
            ([{"role": "system", "content": "Be brief."}], "first-turn", "messages"),
            (["words"], "wrong-type", "messages[0]"),
            ([ASK | {"role": "narrator"}, REPLY], "unknown-role", "messages[0].role"),
            ([ASK | {"role": ["user"]}, REPLY], "unknown-role", "messages[0].role"),
            ([{"content": "words"}, REPLY], "unknown-role", "messages[0].role"),
            ([ASK, {"role": "assistant", "content": None}], "empty-message", "messages[1]"),
            ([ASK, {"role": "assistant"}], "missing-field", "messages[1].content"),
            ([{"role": "user", "text": "words"}, REPLY], "missing-field", "messages[0].content"),
            ([{"role": "system"}, ASK, REPLY], "missing-field", "messages[0].content"),
            ([ASK | {"content": ""}, REPLY], "empty-message", "messages[0]"),
            ([ASK | {"content": []}, REPLY], "empty-message", "messages[0]"),
            ([ASK | {"content": 7}, REPLY], "wrong-type", "messages[0].content"),
        ],
    )
    def test_what_can_t_be_carried_over_is_refused(self, messages, code, path):
        document, losses = chat(*messages)
        assert document is None
        assert losses == [(code, path, True)]

    def test_every_reason_is_named_not_only_the_first(self):
        losses = chat(ASK | {"role": "narrator"}, {"role": "assistant", "content": ""}, ASK | {"content": 7})[1]
        assert [code for code, _, _ in losses] == ["unknown-role", "empty-message", "wrong-type"]


class TestSystem:
    def test_several_become_one_instruction(self):
        document, losses = chat(
            {"role": "system", "content": "Be brief."},
            {"role": "developer", "content": [{"type": "text", "text": "Be kind."}]},
            ASK,
            REPLY,
        )
        assert document["systemInstruction"] == {"parts": [{"text": "Be brief."}, {"text": "Be kind."}]}
        assert losses == []

    def test_one_behind_the_question_is_moved_to_the_front(self):
        document, losses = chat(ASK, {"role": "system", "content": "Be brief."}, REPLY)
        assert document["systemInstruction"] == {"parts": [{"text": "Be brief."}]}
        assert losses == [("late-system-message", "messages[1]", False)]

    def test_one_behind_an_answer_is_refused_for_the_answer_did_not_know_it(self):
        _, losses = chat(ASK, REPLY, {"role": "system", "content": "Speak French."}, ASK, REPLY)
        assert losses == [("late-system-message", "messages[2]", True)]

    def test_an_empty_one_says_nothing_wherever_it_stands(self):
        document, losses = chat({"role": "system", "content": ""}, ASK, REPLY, {"role": "system", "content": ""})
        assert "systemInstruction" not in document
        assert losses == []

    def test_a_prompt_outside_of_the_messages_is_not_forgotten(self):
        assert chat(ASK, REPLY, system="Be brief.")[1] == [("late-system-message", "system", True)]

    def test_it_holds_text_only(self):
        image = [{"type": "image_url", "image_url": {"url": "gs://b/a.png"}}]
        losses = chat({"role": "system", "content": image}, ASK, REPLY)[1]
        assert losses == [("unsupported-part", "messages[0].content[0]", True)]


class TestParts:
    @pytest.mark.parametrize(
        ("url", "mime_type"),
        [
            ("gs://bucket/chart.png", "image/png"),
            ("https://harbour.example/a.b/chart.JPG?size=2#x", "image/jpeg"),
            ("http://harbour.example/chart.webp", "image/webp"),
        ],
    )
    @pytest.mark.parametrize("wrap", [lambda url: url, lambda url: {"url": url}])
    def test_images_by_uri_become_files(self, url, mime_type, wrap):
        content = [{"type": "text", "text": "Read it."}, {"type": "image_url", "image_url": wrap(url)}]
        document, losses = chat({"role": "user", "content": content}, REPLY)
        assert document["contents"][0]["parts"] == [
            {"text": "Read it."},
            {"fileData": {"mimeType": mime_type, "fileUri": url}},
        ]
        assert losses == []

    def test_a_part_s_value_as_llamafactory_calls_it(self):
        url = "gs://b/a.png"
        content = [{"type": "text", "value": "Read it."}, {"type": "image_url", "value": url}]
        document, losses = chat({"role": "user", "content": content}, REPLY)
        assert document["contents"][0]["parts"] == [
            {"text": "Read it."},
            {"fileData": {"mimeType": "image/png", "fileUri": url}},
        ]
        assert losses == []

    @pytest.mark.parametrize(
        ("part", "hint"),
        [
            ({"type": "text", "content": "words"}, "Did you mean 'content'? Rename it."),
            ({"type": "text", "a": "words", "b": "words"}, "Add it."),
            ({"type": "text"}, "Add it."),
        ],
    )
    def test_a_part_without_its_text_is_told_which_field_may_hold_it(self, part, hint):
        line = json.dumps({"messages": [ASK | {"content": [part]}, REPLY]}).encode()
        [loss] = convert_line(line, None, keep_weights=False).losses
        assert (loss.code, loss.path) == ("missing-field", "messages[0].content[0].text")
        assert (loss.message, loss.hint) == ("the field is missing", hint)

    def test_an_image_s_detail_is_lost_unless_it_asks_for_nothing(self):
        def losses(detail):
            image = {"url": "gs://b/a.png", "detail": detail}
            return chat({"role": "user", "content": [{"type": "image_url", "image_url": image}]}, REPLY)[1]

        assert losses("auto") == []
        assert losses("high") == [("field-left-out", "messages[0].content[0].image_url.detail", False)]

    @pytest.mark.parametrize(
        ("image", "code"),
        [
            ("data:image/png;base64,AAAA", "inline-data"),
            ("DATA:image/png;base64,AAAA", "inline-data"),
            ("/home/me/chart.png", "wrong-uri"),
            ("gs://bucket/my chart.png", "wrong-uri"),
            ("gs://bucket.png", "wrong-uri"),
            ("gs:///chart.png", "wrong-uri"),
            ("gs://bucket/chart.png\n", "wrong-uri"),
            ("https://harbour.example/chart", "media-type"),
            ("https://harbour.example/chart.gif", "media-type"),
            ("https://[harbour/chart.png", "media-type"),
            (None, "wrong-type"),
            (7, "wrong-type"),
        ],
    )
    def test_other_images_are_refused(self, image, code):
        content = [{"type": "image_url", "image_url": {"url": image}}]
        document, [(found, path, _)] = chat({"role": "user", "content": content}, REPLY)
        assert document is None
        assert (found, path) == (code, "messages[0].content[0].image_url.url")

    @pytest.mark.parametrize(
        "part",
        [
            {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
            {"type": "file", "file": {"file_id": "file-1"}},
            {"type": "refusal", "refusal": "No."},
            {"type": ["text"], "text": "words"},
            {"text": "words"},
            "words",
            None,
        ],
    )
    def test_parts_without_a_counterpart_are_refused(self, part):
        losses = chat({"role": "user", "content": [part]}, REPLY)[1]
        assert losses == [("unsupported-part", "messages[0].content[0]", True)]

    @pytest.mark.parametrize(
        ("answer", "path"),
        [
            ({"content": None, "refusal": "I will not."}, "messages[1].refusal"),
            ({"content": [{"type": "refusal", "refusal": "I will not."}]}, "messages[1].content[0].refusal"),
        ],
    )
    def test_a_refusal_is_kept_as_text_and_noted(self, answer, path):
        document, losses = chat(ASK, {"role": "assistant", **answer})
        assert document["contents"][1] == text("model", "I will not.")
        assert losses == [("refusal-as-text", path, False)]

    def test_white_space_beside_a_call_is_noted(self):
        document, losses = chat(ASK, calls(call(), content="\n"), tools=[WEATHER])
        assert list(document["contents"][1]["parts"][0]) == ["functionCall"]
        assert losses == [("blank-text", "messages[1].content", False)]


class TestWeights:
    def test_weight_1_is_what_gemini_does_anyway(self):
        assert chat(ASK, REPLY | {"weight": 1})[1] == []

    @pytest.mark.parametrize("weight", [0, 0.5, "0", [1]])
    def test_a_turn_not_to_be_learned_is_not_paid_for_unasked(self, weight):
        line = {"messages": [ASK, REPLY | {"weight": weight}, ASK, REPLY]}
        document, losses = convert(line)
        assert (document, losses) == (None, [("training-weight", "messages[1].weight", True)])
        document, losses = convert(line, keep_weights=True)
        assert len(document["contents"]) == 4
        assert losses == [("training-weight", "messages[1].weight", False)]

    @pytest.mark.parametrize("field", ["weight", "loss_weight"])
    def test_no_question_is_learned_as_weight_0_asks_for(self, field):
        assert chat(ASK | {field: 0.0}, REPLY | {field: 1.0})[1] == []
        assert chat(ASK | {field: 1}, REPLY)[1] == [("field-left-out", f"messages[0].{field}", False)]
        assert chat(ASK, REPLY | {field: 0.0})[1] == [("training-weight", f"messages[1].{field}", True)]


class TestCalls:
    def test_parallel_calls_are_answered_in_the_order_of_the_calls(self):
        document, losses = chat(
            ASK,
            calls(call(arguments='{"harbour": "Cove"}', id_="a"), call(arguments='{"harbour": "Quay"}', id_="b")),
            response("calm", "b"),
            response('{"wind": 9, "gusts": [1.5]}', "a"),
            REPLY,
            tools=[WEATHER],
        )
        assert losses == []
        assert document["tools"] == DECLARED
        assert document["contents"][1:3] == [
            {
                "role": "model",
                "parts": [
                    {"functionCall": {"name": "harbour_weather", "args": {"harbour": "Cove"}}},
                    {"functionCall": {"name": "harbour_weather", "args": {"harbour": "Quay"}}},
                ],
            },
            {
                "role": "user",
                "parts": [
                    {"functionResponse": {"name": "harbour_weather", "response": {"wind": 9, "gusts": [1.5]}}},
                    {"functionResponse": {"name": "harbour_weather", "response": {"output": "calm"}}},
                ],
            },
        ]

    def test_the_older_function_calls_and_functions(self):
        document, losses = chat(
            ASK,
            {"role": "assistant", "content": None, "function_call": call()["function"]},
            {"role": "function", "name": "harbour_weather", "content": "calm"},
            REPLY,
            functions=[WEATHER["function"]],
        )
        assert losses == []
        assert document["tools"] == DECLARED
        assert document["contents"][2]["parts"] == [
            {"functionResponse": {"name": "harbour_weather", "response": {"output": "calm"}}}
        ]

    def test_a_call_may_be_the_answer_that_is_learned(self):
        document, losses = chat(ASK, calls(call(), content="I look."), tools=[WEATHER])
        assert losses == []
        assert [list(part) for part in document["contents"][1]["parts"]] == [["text"], ["functionCall"]]

    @pytest.mark.parametrize(
        ("content", "expected"),
        [
            ("[1, 2]", {"output": [1, 2]}),
            ("7", {"output": "7"}),
            ("", {"output": ""}),
            ('{"cut": ', {"output": '{"cut": '}),
            ('{"a": 1, "a": 2}', {"output": '{"a": 1, "a": 2}'}),
            ([{"type": "text", "text": "calm"}, {"type": "text", "value": "dry"}], {"output": "calm\ndry"}),
            ({"wind": 9}, {"wind": 9}),
        ],
    )
    def test_a_response_becomes_the_object_it_has_to_be(self, content, expected):
        document, losses = chat(ASK, calls(call()), response(content), REPLY, tools=[WEATHER])
        assert losses == []
        [part] = document["contents"][2]["parts"]
        assert part["functionResponse"]["response"] == expected

    @pytest.mark.parametrize(
        ("content", "code", "path"),
        [
            (None, "wrong-type", "messages[2].content"),
            (7, "wrong-type", "messages[2].content"),
            ([{"type": "image_url", "image_url": "gs://b/a.png"}], "unsupported-part", "messages[2].content[0]"),
            ([{"type": "text"}], "unsupported-part", "messages[2].content[0]"),
            ([{"type": "text", "value": 7}], "unsupported-part", "messages[2].content[0]"),
            (["calm"], "unsupported-part", "messages[2].content[0]"),
        ],
    )
    def test_a_response_of_anything_but_text_is_refused(self, content, code, path):
        losses = chat(ASK, calls(call()), response(content), REPLY, tools=[WEATHER])[1]
        assert losses == [(code, path, True)]

    @pytest.mark.parametrize(
        ("arguments", "args"),
        [
            ("", {}),
            (None, {}),
            ("{}", {}),
            ({"harbour": "Cove"}, {"harbour": "Cove"}),
            ('{"id": 1234567890123456789}', {"id": 1234567890123456789}),
            ('{"say": "\\"\\u0022: }"}', {"say": '"": }'}),
        ],
    )
    def test_arguments_become_an_object(self, arguments, args):
        document, losses = chat(ASK, calls(call(arguments=arguments)), tools=[WEATHER])
        assert losses == []
        assert document["contents"][1]["parts"][0]["functionCall"]["args"] == args

    @pytest.mark.parametrize(
        "arguments",
        [
            '{"harbour": ',
            "[]",
            '"{}"',
            "null",
            '{"a": NaN}',
            '{"a": 1, "a": 2}',
            '{"a": 1, "\\u0061": 2}',
            '{"a": "\\ud83d"}',
            "[" * 5000,
            7,
        ],
    )
    def test_arguments_that_are_none_are_refused(self, arguments):
        losses = chat(ASK, calls(call(arguments=arguments)), tools=[WEATHER])[1]
        assert losses == [("bad-arguments", "messages[1].tool_calls[0].function.arguments", True)]

    @pytest.mark.parametrize(
        ("messages", "path"),
        [
            ([ASK, calls(call()), REPLY], "messages[1].tool_calls[0].function"),
            ([ASK, calls(call()), ASK, REPLY], "messages[1].tool_calls[0].function"),
            ([ASK, response("calm"), REPLY], "messages[1]"),
            ([response("calm"), REPLY], "messages[0]"),
            ([ASK, calls(call()), response("calm"), response("calm"), REPLY], "messages[3]"),
            ([ASK, calls(call()), response("calm", name="other"), REPLY], "messages[2].name"),
            (
                [ASK, calls(call(id_="a"), call(id_="b")), response("calm", "b")],
                "messages[1].tool_calls[0].function",
            ),
        ],
    )
    def test_calls_and_responses_are_paired(self, messages, path):
        losses = chat(*messages, tools=[WEATHER])[1]
        assert ("unpaired-call", path, True) in losses

    def test_a_response_that_a_question_follows_stands_before_it_in_the_same_turn(self):
        document, losses = chat(ASK, calls(call()), response("calm"), ASK, REPLY, tools=[WEATHER])
        assert losses == []
        assert [list(part) for part in document["contents"][2]["parts"]] == [["functionResponse"], ["text"]]

    def test_a_response_at_the_end_has_no_answer(self):
        assert chat(ASK, calls(call()), response("calm"), tools=[WEATHER])[1] == [("last-turn", "messages", True)]

    def test_only_declared_functions_are_called(self):
        losses = chat(ASK, calls(call("tide_table")), tools=[WEATHER])[1]
        assert losses == [("undeclared-function", "messages[1].tool_calls[0].function.name", True)]

    @pytest.mark.parametrize("tools", [None, [], "[]"])
    def test_where_none_is_declared_the_check_warns(self, tools):
        document, losses = chat(ASK, calls(call("tide_table")), tools=tools)
        assert losses == []
        assert [fault.code for fault in judge.faults(document, Rules())] == ["no-tools"]

    def test_a_response_without_id_and_name_belongs_to_the_only_call(self):
        nameless = {"role": "tool", "content": "calm"}
        document, losses = chat(ASK, calls(call()), nameless, REPLY, tools=[WEATHER])
        assert losses == []
        assert document["contents"][2]["parts"][0]["functionResponse"]["response"] == {"output": "calm"}
        several = calls(call(id_="a"), call(id_="b"))
        assert ("unpaired-call", "messages[2]", True) in chat(ASK, several, nameless, REPLY, tools=[WEATHER])[1]

    @pytest.mark.parametrize(
        ("made", "code"),
        [
            ({"id": "c1", "type": "custom", "custom": {}}, "unsupported-tool"),
            ("call", "unsupported-tool"),
            ({"id": "c1", "type": "function"}, "wrong-type"),
            (call(name="1st"), "function-name"),
            (call(name=None), "function-name"),
        ],
    )
    def test_what_is_no_call_is_refused(self, made, code):
        assert chat(ASK, calls(made), tools=[WEATHER])[1][0][0] == code

    def test_calls_that_are_no_list_are_refused(self):
        losses = chat(ASK, {"role": "assistant", "content": "a", "tool_calls": "x"})[1]
        assert losses == [("wrong-type", "messages[1].tool_calls", True)]
