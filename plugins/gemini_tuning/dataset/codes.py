"""The one table of everything a check can find: its code, how severe it is, what it means, and what to do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

from gemini_tuning.errors import ConfigError

LISTED_PER_CODE = 20  # of one file; the rest is only counted
Severity = Literal["error", "warning", "ignore"]


class Fault(NamedTuple):
    """What is wrong, before it is known which line of which file it is.

    ``path`` is a JSON path inside the line, ``column`` counts from 1.
    """

    code: str
    message: str
    hint: str
    path: str | None = None
    column: int | None = None


class Code(NamedTuple):
    """A row of the table. An error rejects the dataset, a warning is reported."""

    severity: Severity
    meaning: str
    remedy: str


CODES: dict[str, Code] = {
    # the file
    "empty-file": Code("error", "the file holds nothing", "write one example per line"),
    "not-json-lines": Code("error", "an array, pretty-printed JSON, Python, CSV, or no text", "write JSON Lines"),
    "utf-16": Code("error", "the file is UTF-16 or UTF-32", "save it as UTF-8"),
    "compressed": Code("error", "gzip; its content is checked, but the service can't read it", "unpack it"),
    "file-too-large": Code("error", "more bytes than the service takes", "train on a part of it"),
    "crlf": Code("warning", "lines end as on Windows; harmless", "save with line feeds only"),
    # the line as JSON
    "blank-line": Code("error", "a line without anything", "remove it"),
    "byte-order-mark": Code("error", "the line starts with a byte order mark", "save as UTF-8 without BOM"),
    "not-utf-8": Code("error", "a byte that is not UTF-8", "save the file as UTF-8"),
    "line-too-long": Code("error", "longer than 16 MiB", "one line holds one example"),
    "invalid-json": Code("error", "not JSON, or more than JSON allows (NaN, Infinity)", "write one object per line"),
    "duplicate-key": Code("error", "one key stands twice in an object", "keep one of them"),
    "lone-surrogate": Code("error", "half of an escaped character", "write the character whole"),
    "nested-too-deep": Code("error", "more than 100 levels of nesting", "check how it was written"),
    "legacy-format": Code("error", "lines of another or an older format; told once per file", "convert the file"),
    # the shape of the line
    "missing-field": Code("error", "a required field is missing", "add it"),
    "unknown-field": Code("error", "a field the service doesn't know", "correct or remove it"),
    "both-casings": Code("error", "one field in camelCase and in snake_case", "keep one of them"),
    "wrong-type": Code("error", "a string where an object is asked for, or the like", "correct its type"),
    "wrong-value": Code("error", "a word that is not one of those allowed, such as another role", "use an allowed one"),
    "empty-list": Code("error", "a list that needs an element has none", "add one"),
    "empty-text": Code("error", "a text of nothing or of white space", "write it, or leave the part out"),
    "part-members": Code("error", "a part holds nothing, or two things at once", "split it, or add what is missing"),
    "wrong-uri": Code("error", "a file that is no gs:// object and no http(s)://", "upload it and name its URI"),
    "double-encoded-args": Code("error", "arguments written as a string of JSON", "write the object itself"),
    "system-not-text": Code("error", "a system instruction with more than text", "keep its text only"),
    "wrong-shape": Code("error", "violates the schema in another way", "see the schema"),
    # the conversation
    "first-turn": Code("error", "it starts with the model", "start with a user turn"),
    "same-role-twice": Code("error", "two turns of one role in a row", "join them"),
    "last-turn": Code("error", "it ends without an answer by the model", "end with a model turn"),
    "misplaced-call": Code("error", "a function call outside a model turn", "move it into a model turn"),
    "misplaced-file": Code("warning", "a file in a model turn", "move it into a user turn"),
    "misplaced-response": Code("error", "a function response in a model turn", "move it into a turn of its own"),
    "undeclared-function": Code("error", "a call of a function that tools doesn't declare", "declare it"),
    "unknown-declaration-field": Code("warning", "tools hold a field that Google doesn't list", "correct its name"),
    "no-tools": Code("warning", "functions are called, none is declared", "add tools"),
    "unanswered-call": Code("error", "the turn after a call has no response to it", "add the response"),
    "response-without-call": Code("error", "a response to what was not called in the turn before", "add the call"),
    "unsupported-media": Code("error", "a type of file that the model isn't tuned on", "leave the example out"),
    "missing-mime-type": Code("warning", "a file without its MIME type", "add mimeType"),
    "invisible-text": Code("warning", "a prompt or an answer of which nothing can be seen", "write it"),
    "degenerate-answer": Code("warning", "an answer that repeats one phrase over and over", "correct it"),
    # limits
    "too-many-files": Code("warning", "more images, audio, videos or PDFs than an example may have", "split it"),
    "long-example": Code("warning", "probably more tokens than an example may have", "shorten or split it"),
    "dropped-examples": Code("error", "the service would drop over a tenth of the examples", "shorten or remove them"),
    "too-many-examples": Code("error", "more examples than the service takes", "use a part of them"),
    "few-examples": Code("warning", "fewer than Google recommends to start with", "collect more"),
    "large-validation": Code("warning", "over 1,000 validation examples, and a large share of training", "use fewer"),
    "over-budget": Code("error", "a job costs more than the budget, or nobody knows", "fewer epochs, or more money"),
    # across lines and files
    "mixed-system-instructions": Code("warning", "only some examples have a system instruction", "use one, or none"),
    "duplicate-example": Code("warning", "a line that stands in the file before", "remove it"),
    "normalised-duplicate": Code("warning", "the same but for case, spaces or closing punctuation", "remove it"),
    "repeated-prompt": Code("warning", "the same prompt with different answers", "decide for one answer"),
    "validation-leak": Code("warning", "a validation prompt that training contains", "keep it in one of the two"),
    "smoke-leak": Code("warning", "a prompt of the smoke suite that training contains", "test with other prompts"),
    "near-duplicate": Code("warning", "a prompt that is nearly another one", "keep one, unless it is meant"),
    "near-duplicate-leak": Code("warning", "a validation prompt nearly in training", "keep it in one of the two"),
    "length-drift": Code("warning", "validation is longer or shorter than training", "draw both at random"),
    "label-drift": Code("warning", "labels have other shares in validation", "draw both at random, label by label"),
    "unseen-label": Code("warning", "a label of validation that training never shows", "correct it, or add examples"),
    # private data, looked for on request
    "private-api-key": Code("warning", "what looks like a key of an API", "revoke it and take it out"),
    "private-iban": Code("warning", "what looks like a bank account", "take it out, or replace it"),
    "private-card": Code("warning", "what looks like a card number", "take it out, or replace it"),
    "private-email": Code("warning", "what looks like an e-mail address", "take it out, or replace it"),
    "private-phone": Code("warning", "what looks like a phone number", "take it out, or replace it"),
    "private-id": Code("warning", "what one of the configured patterns finds", "take it out, or replace it"),
}


# What a second reading finds alone, or finds all of: the first knows of prompts only whether they are equal.
ON_SECOND_READING = (
    "invisible-text",
    "degenerate-answer",
    "normalised-duplicate",
    "repeated-prompt",
    "validation-leak",
    "smoke-leak",
    "near-duplicate",
    "near-duplicate-leak",
    "length-drift",
    "label-drift",
    "unseen-label",
)


def severities(overrides: Mapping[str, Severity] | None) -> dict[str, Severity]:
    """Return every code's severity.

    :param overrides: code -> ``error``, ``warning`` or ``ignore``.
    :raises ConfigError: for an unknown code or severity.
    """
    for code, severity in (overrides or {}).items():
        if code not in CODES:
            from gemini_tuning.explain import did_you_mean

            raise ConfigError(f"severities: there is no code {code!r}{did_you_mean(code, CODES)}")
        if severity not in ("error", "warning", "ignore"):
            raise ConfigError(f"severities: {code!r} is {severity!r}; write 'error', 'warning' or 'ignore'.")
    return {code: row.severity for code, row in CODES.items()} | dict(overrides or {})
