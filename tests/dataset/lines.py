"""Good lines of every shape, and ways to damage one, each with the code that must be found."""

import json
import random

WORDS = "parcel kettle grinder invoice voucher refund order address late broken größe 東京 “quoted” naïve".split()  # noqa: SIM905


def text_part(text):
    return {"text": text}


def turn(role, *parts):
    return {"role": role, "parts": [text_part(part) if isinstance(part, str) else part for part in parts]}


def call(name="find", **args):
    return {"functionCall": {"name": name, "args": args}}


def response(name="find", **found):
    return {"functionResponse": {"name": name, "response": found}}


def file(mime_type="image/png", uri="gs://bucket/picture.png"):
    return {"fileData": {"mimeType": mime_type, "fileUri": uri}}


def tools(*names):
    return [{"functionDeclarations": [{"name": name, "parameters": {"type": "OBJECT"}} for name in names]}]


def words(rng, count):
    return " ".join(rng.choice(WORDS) for _ in range(count))


def pair(rng, number):
    return {"contents": [turn("user", f"{words(rng, 6)} #{number}?"), turn("model", f"{words(rng, 8)}.")]}


def chat(rng, number):
    turns = [
        turn(role, f"{words(rng, 5)} {number}/{index}.")
        for index, role in enumerate(("user", "model") * rng.randint(2, 4))
    ]
    return {"contents": turns}


def with_calls(rng, number):
    turns = [
        turn("user", f"{words(rng, 4)} #{number}"),
        turn("model", call(q=words(rng, 2), deep={"list": [1, 2.5, None, True]})),
        {"parts": [response(found=number)]},
        turn("model", f"{words(rng, 4)}."),
    ]
    return {"contents": turns, "tools": tools("find", "book")}


def with_files(rng, number):
    return {"contents": [turn("user", file(), f"{words(rng, 4)} #{number}"), turn("model", f"{words(rng, 3)}.")]}


def document(rng, number):
    kind = rng.choice((pair, pair, pair, chat, with_calls, with_files))
    made = {"systemInstruction": {"parts": [text_part("Be kind.")]}, **kind(rng, number)}
    return dict(sorted(made.items(), reverse=rng.random() < 0.5))


def written(rng, made):
    separators = rng.choice(((",", ":"), (", ", ": ")))
    return json.dumps(made, ensure_ascii=rng.random() < 0.3, separators=separators).encode()


def good_lines(seed, count):
    rng = random.Random(seed)
    return [written(rng, document(rng, number)) for number in range(count)]


def _instructed(**fields):
    return {"systemInstruction": {"parts": [text_part("Be kind.")]}, **fields}


def _said(*turns, **fields):
    return json.dumps(_instructed(contents=list(turns), **fields)).encode()


def _pair_with(**fields):
    return _said(turn("user", "damaged"), turn("model", "answer"), **fields)


def _with_user_part(part):
    return _said(turn("user", part), turn("model", "answer"))


def _calling(calls, *after, **fields):
    return _said(turn("user", "q"), turn("model", *calls), *after, **fields)


_HEAD = b'{"systemInstruction": {"parts": [{"text": "Be kind."}]}, "contents": [{"role": "user", "parts": [{"text": "'
_TAIL = b'"}]}, {"role": "model", "parts": [{"text": "answer"}]}]}'

# name -> the damaged line, the code it must be told by, and where one is told, its JSON path
DAMAGE = {
    "blank": (b"", "blank-line", None),
    "spaces": (b"   \t", "blank-line", None),
    "byte order mark": (b"\xef\xbb\xbf" + _HEAD + b"q" + _TAIL, "byte-order-mark", None),
    "latin-1": (_HEAD + b"gr\xf6\xdfe" + _TAIL, "not-utf-8", None),
    "cut utf-8": (_HEAD + "é".encode()[:1] + _TAIL, "not-utf-8", None),
    "surrogate bytes": (_HEAD + b"\xed\xa0\x80" + _TAIL, "not-utf-8", None),
    "overlong utf-8": (_HEAD + b"\xc0\xaf" + _TAIL, "not-utf-8", None),
    "lone surrogate": (_HEAD + rb"\ud83d" + _TAIL, "lone-surrogate", None),
    "prose": (b"hello there", "invalid-json", None),
    "cut off": (_HEAD, "invalid-json", None),
    "cut before the end": (_HEAD + b"q" + _TAIL[:-1], "invalid-json", None),
    "one brace too many": (_HEAD + b"q" + _TAIL + b"}", "invalid-json", None),
    "two objects": (_HEAD + b"q" + _TAIL + b" {}", "invalid-json", None),
    "comma behind": (_HEAD + b"q" + _TAIL + b",", "invalid-json", None),
    "trailing comma": (_HEAD + b"q" + _TAIL[:-1] + b",}", "invalid-json", None),
    "single quotes": (b"{'contents': []}", "invalid-json", None),
    "control character": (_HEAD + b"a\x01b" + _TAIL, "invalid-json", None),
    "raw tab in a text": (_HEAD + b"a\tb" + _TAIL, "invalid-json", None),
    "NUL": (_HEAD + b"a\x00b" + _TAIL, "invalid-json", None),
    "unknown escape": (_HEAD + rb"\q" + _TAIL, "invalid-json", None),
    "NaN": (b'{"contents": NaN}', "invalid-json", None),
    "Infinity": (b'{"contents": -Infinity}', "invalid-json", None),
    "number beyond floats": (b'{"contents": 1e999}', "invalid-json", None),
    "endless number": (b'{"contents": ' + b"7" * 5000 + b"}", "invalid-json", None),
    "nesting bomb": (b"[" * 200_000, "nested-too-deep", None),
    "closed nesting": (b"[" * 150 + b"]" * 150, "nested-too-deep", None),
    "text twice": (_HEAD + b'a", "text": "b' + _TAIL, "duplicate-key", None),
    "text twice, compact": (_HEAD + b'a","text":"b' + _TAIL, "duplicate-key", None),
    "text twice with quotes in it": (_HEAD + rb'\"a\\", "text": "b' + _TAIL, "duplicate-key", None),
    "role twice": (_HEAD + b'a"}], "role": "user' + _TAIL.replace(b"}]}", b"}", 1), "duplicate-key", None),
    "contents twice": (b'{"contents": [], ' + (_HEAD + b"q" + _TAIL)[1:], "duplicate-key", None),
    "args twice": (_calling([call(a=1)]).replace(b'"args": {', b'"args": {}, "args": {'), "duplicate-key", None),
    "an array": (b"[1, 2]", "wrong-type", None),
    "a string": (b'"contents"', "wrong-type", None),
    "null": (b"null", "wrong-type", None),
    "no contents": (b"{}", "missing-field", None),
    "contents of null": (b'{"contents": null}', "wrong-type", "contents"),
    "no turns": (_said(), "empty-list", "contents"),
    "a turn of text": (_said("hello", turn("model", "a")), "wrong-type", "contents[0]"),
    "no parts": (_said({"role": "user"}, turn("model", "a")), "missing-field", "contents[0]"),
    "empty parts": (_said(turn("user"), turn("model", "a")), "empty-list", "contents[0].parts"),
    "parts as an object": (
        _said({"role": "user", "parts": {"text": "q"}}, turn("model", "a")),
        "wrong-type",
        "contents[0].parts",
    ),
    "empty text": (_with_user_part(""), "empty-text", "contents[0].parts[0].text"),
    "blank text": (_with_user_part(" \n\u2003"), "empty-text", "contents[0].parts[0].text"),
    "empty answer": (_said(turn("user", "q"), turn("model", "")), "empty-text", "contents[1].parts[0].text"),
    "text as a number": (_with_user_part({"text": 7}), "wrong-type", "contents[0].parts[0].text"),
    "text of null": (_with_user_part({"text": None}), "wrong-type", "contents[0].parts[0].text"),
    "empty part": (_with_user_part({}), "part-members", "contents[0].parts[0]"),
    "two members": (_with_user_part({"text": "q", **file()}), "part-members", "contents[0].parts[0]"),
    "misspelt text": (_with_user_part({"txt": "q"}), "unknown-field", "contents[0].parts[0].txt"),
    "inline data": (_with_user_part({"inlineData": {}}), "unknown-field", "contents[0].parts[0].inlineData"),
    "content for contents": (_pair_with(content=[]), "unknown-field", "content"),
    "weight": (_said(turn("user", "q"), {**turn("model", "a"), "weight": 1}), "unknown-field", "contents[1].weight"),
    "both casings": (_pair_with(system_instruction={"parts": [{"text": "x"}]}), "both-casings", None),
    "both casings of a part": (
        _with_user_part({**file(), "file_data": {"fileUri": "gs://b/f"}}),
        "both-casings",
        "contents[0].parts[0]",
    ),
    "assistant": (_said(turn("user", "q"), turn("assistant", "a")), "wrong-value", "contents[1].role"),
    "capital role": (_said(turn("User", "q"), turn("model", "a")), "wrong-value", "contents[0].role"),
    "role of null": (_said({**turn("user", "q"), "role": None}, turn("model", "a")), "wrong-value", "contents[0].role"),
    "system turn": (
        _said(turn("system", "s"), turn("user", "q"), turn("model", "a")),
        "wrong-value",
        "contents[0].role",
    ),
    "model first": (_said(turn("model", "a")), "first-turn", "contents[0]"),
    "no answer": (_said(turn("user", "q")), "last-turn", "contents[0]"),
    "user last": (_said(turn("user", "q"), turn("model", "a"), turn("user", "q2")), "last-turn", "contents[2]"),
    "user twice": (
        _said(turn("user", "q"), turn("user", "r"), turn("model", "a")),
        "same-role-twice",
        "contents[1].role",
    ),
    "model twice": (
        _said(turn("user", "q"), turn("model", "a"), turn("model", "b")),
        "same-role-twice",
        "contents[2].role",
    ),
    "local file": (_with_user_part(file(uri="/tmp/x.png")), "wrong-uri", "contents[0].parts[0].fileData.fileUri"),
    "spaces in a URI": (_with_user_part(file(uri="gs://b/a b")), "wrong-uri", "contents[0].parts[0].fileData.fileUri"),
    "a bucket without an object": (
        _with_user_part(file(uri="gs://bucket")),
        "wrong-uri",
        "contents[0].parts[0].fileData.fileUri",
    ),
    "an object without a bucket": (
        _with_user_part({"file_data": {"mime_type": "image/png", "file_uri": "gs:///a.png"}}),
        "wrong-uri",
        "contents[0].parts[0].file_data.file_uri",
    ),
    "a URI without a host": (
        _with_user_part(file(uri="https:///a.png")),
        "wrong-uri",
        "contents[0].parts[0].fileData.fileUri",
    ),
    "a file by the model": (
        _said(turn("user", "q"), turn("model", "a", file())),
        "misplaced-file",
        "contents[1].parts[1].fileData",
    ),
    "an answer that can't be seen": (
        _said(turn("user", "q5"), turn("model", "\u200b\u00a0")),
        "invisible-text",
        "contents[1]",
    ),
    "a prompt that can't be seen": (
        _said(turn("user", "\u2060\ufeff"), turn("model", "a")),
        "invisible-text",
        "contents[0]",
    ),
    "no URI": (
        _with_user_part({"fileData": {"mimeType": "image/png"}}),
        "part-members",
        "contents[0].parts[0].fileData",
    ),
    "unknown type of file": (_with_user_part(file("image/tiff")), "unsupported-media", "contents[0].parts[0].fileData"),
    "no type of file": (
        _with_user_part({"fileData": {"fileUri": "gs://b/f"}}),
        "missing-mime-type",
        "contents[0].parts[0].fileData",
    ),
    "too many images": (_said(turn("user", *[file()] * 31), turn("model", "a")), "too-many-files", None),
    "two videos": (_said(turn("user", *[file("video/mp4")] * 2), turn("model", "a")), "too-many-files", None),
    "file in the instruction": (
        _pair_with().replace(b'"text": "Be kind."', b'"text": "Be kind.", "fileData": {"fileUri": "gs://b/f"}'),
        "system-not-text",
        "systemInstruction.parts[0].fileData",
    ),
    "instruction as text": (
        _pair_with().replace(b'{"parts": [{"text": "Be kind."}]}', b'"Be kind."'),
        "wrong-type",
        "systemInstruction",
    ),
    "call without a name": (
        _calling([{"functionCall": {"args": {}}}], tools=tools("find")),
        "missing-field",
        "contents[1].parts[0].functionCall",
    ),
    "arguments in a string": (
        _calling([{"functionCall": {"name": "find", "args": '{"q": 1}'}}], tools=tools("find")),
        "double-encoded-args",
        "contents[1].parts[0].functionCall.args",
    ),
    "arguments as a list": (
        _calling([{"functionCall": {"name": "find", "args": [1]}}], tools=tools("find")),
        "wrong-type",
        "contents[1].parts[0].functionCall.args",
    ),
    "arguments by another name": (
        _calling([{"functionCall": {"name": "find", "arguments": {}}}], tools=tools("find")),
        "unknown-field",
        "contents[1].parts[0].functionCall.arguments",
    ),
    "undeclared function": (
        _calling([call("fnd")], tools=tools("find")),
        "undeclared-function",
        "contents[1].parts[0].functionCall.name",
    ),
    "undeclared function, in snake case": (
        _calling([{"function_call": {"name": "fnd"}}], tools=[{"function_declarations": [{"name": "find"}]}]),
        "undeclared-function",
        "contents[1].parts[0].function_call.name",
    ),
    "no tools": (_calling([call()]), "no-tools", None),
    "call by the user": (
        _said(turn("user", call()), turn("model", "a"), tools=tools("find")),
        "misplaced-call",
        "contents[0].parts[0]",
    ),
    "response by the model": (
        _calling([response()], tools=tools("find")),
        "misplaced-response",
        "contents[1].parts[0]",
    ),
    "call without response": (
        _calling([call()], turn("user", "next"), turn("model", "a"), tools=tools("find")),
        "unanswered-call",
        "contents[1].parts[0]",
    ),
    "response of another": (
        _calling([call()], {"parts": [response("book")]}, turn("model", "a"), tools=tools("find", "book")),
        "response-without-call",
        "contents[2].parts[0]",
    ),
    "response as text": (
        _calling(
            [call()],
            {"parts": [{"functionResponse": {"name": "find", "response": "x"}}]},
            turn("model", "a"),
            tools=tools("find"),
        ),
        "wrong-type",
        "contents[2].parts[0].functionResponse.response",
    ),
    "tools as an object": (_pair_with(tools=tools("find")[0]), "wrong-type", "tools"),
    "declaration without a name": (
        _pair_with(tools=[{"functionDeclarations": [{}]}]),
        "missing-field",
        "tools[0].functionDeclarations[0]",
    ),
    "misspelt parameters": (
        _pair_with(tools=[{"functionDeclarations": [{"name": "find", "paramters": {}}]}]),
        "unknown-declaration-field",
        "tools[0].functionDeclarations[0].paramters",
    ),
    "misspelt schema": (
        _pair_with(
            tools=[
                {
                    "function_declarations": [
                        {"name": "find", "parameters": {"properties": {"q": {"items": {"anyOf": [{"typ": "STRING"}]}}}}}
                    ]
                }
            ]
        ),
        "unknown-declaration-field",
        "tools[0].function_declarations[0].parameters.properties.q.items.anyOf[0].typ",
    ),
    "another generation setting": (
        _pair_with(generationConfig={"temperature": 1}),
        "unknown-field",
        "generationConfig.temperature",
    ),
    "wrong resolution": (
        _pair_with(generationConfig={"mediaResolution": "HIGH"}),
        "wrong-value",
        "generationConfig.mediaResolution",
    ),
    "one phrase again and again": (
        _said(turn("user", "q7"), turn("model", "I can't. " * 30)),
        "degenerate-answer",
        "contents[1]",
    ),
    "one word again and again": (
        _said(turn("user", "q8"), turn("model", "Well, yes" + " yes" * 40)),
        "degenerate-answer",
        "contents[1]",
    ),
    "too long for a model": (_said(turn("user", "q9 " + "ab " * 200_000), turn("model", "a")), "long-example", None),
    "longer than anything": (_HEAD + b"x" * (16 * 1024 * 1024) + _TAIL, "line-too-long", None),
}


# values that stand where another belongs
ODDITIES = (
    None,
    True,
    0,
    1.5,
    "",
    " ",
    "user",
    "model",
    "function",
    '{"q": 1}',
    [],
    {},
    [{}],
    [[]],
    {"text": "x"},
    "\x00",
    "é\u2028",
)
KEYS = (
    "text",
    "role",
    "parts",
    "contents",
    "systemInstruction",
    "system_instruction",
    "fileData",
    "file_data",
    "functionCall",
    "function_call",
    "functionResponse",
    "tools",
    "weight",
    "args",
    "name",
    "mimeType",
    "mime_type",
    "fileUri",
    "videoMetadata",
    "generationConfig",
    "x",
)


def mutated_document(rng, node):
    """Return a copy of a JSON value with one random change somewhere in it."""
    if isinstance(node, dict) and node and rng.random() < 0.85:
        key = rng.choice(list(node))
        changed = dict(node)
        match rng.randrange(8):
            case 0:
                del changed[key]
            case 1:
                changed[rng.choice(KEYS)] = changed.pop(key)
            case 2:
                changed[rng.choice(KEYS)] = rng.choice(ODDITIES)
            case _:
                changed[key] = mutated_document(rng, node[key])
        return changed
    if isinstance(node, list) and node and rng.random() < 0.85:
        index = rng.randrange(len(node))
        changed = list(node)
        match rng.randrange(8):
            case 0:
                del changed[index]
            case 1:
                changed.insert(index, node[index])
            case 2:
                changed.insert(index, rng.choice(ODDITIES))
            case 3:
                rng.shuffle(changed)
            case _:
                changed[index] = mutated_document(rng, node[index])
        return changed
    return rng.choice(ODDITIES)


SNIPPETS = (
    b'"',
    b"\\",
    b'\\"',
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b" ",
    b"\t",
    b"\r",
    b"\x00",
    b"\xff",
    b"\xc3",
    b"\xed\xa0\x80",
    rb"\ud800",
    rb"\u00e9",
    b"NaN",
    b"1e999",
    b'"text":"x",',
    b'"role": "user",',
    b'"parts": [],',
    b"null",
    b"/",
    b"\xe2\x80\xa8",
)


def mutated_bytes(rng, line):
    """Return a line with a few bytes of it changed."""
    changed = bytearray(line)
    for _ in range(rng.randint(1, 3)):
        place = rng.randrange(len(changed) + 1)
        match rng.randrange(4):
            case 0:
                del changed[place : place + rng.randint(1, 9)]
            case 1:
                changed[place:place] = rng.choice(SNIPPETS)
            case 2:
                changed[place:place] = changed[rng.randrange(len(changed) + 1) :][: rng.randint(1, 40)]
            case _:
                changed[place : place + 1] = bytes([rng.randrange(256)])
    return bytes(changed).replace(b"\n", b"")
