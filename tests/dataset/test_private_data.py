import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gemini_tuning.dataset.private.scanner import PATTERN_CODE, Kind, Pattern, Scanner
from gemini_tuning.errors import ConfigError

bounded = settings(derandomize=True, max_examples=300, database=None, deadline=None)

EMAILS = {
    "john.smith@example.com": "j…@e….com",
    "Write to jo+tag@mail.example.co.uk.": "j…@m….uk",
    "anna (at) example (dot) org": "a…@e….org",
    "anna [at] example.org": "a…@e….org",
    "ab@cd.de": "…@….de",
    "m\u00fcller@b\u00fccher.de": "m…@b….de",
    "\uff4a\uff4f\uff48\uff4e\uff20\uff45\uff58\uff41\uff4d\uff50\uff4c\uff45\uff0e\uff43\uff4f\uff4d": "j…@e….com",
    "john\u200b@example.com": "j…@e….com",
    "cc: bob.ross@paint.tv: thanks": "b…@p….tv",
}
PHONES = {
    "+49 30 1234567": "…4567",
    "+1 (555) 123-4567": "…4567",
    "+14155552671": "…2671",
    "+44 20 7946 0958": "…0958",
    "+81-90-1234-5678": "…5678",
    "+86 138 0013 8000": "…8000",
    "(555) 234-5678": "…5678",
    "555-234-5678": "…5678",
    "415.555.2671": "…2671",
    "1-800-555-0199": "…0199",
    "0049 30 1234567": "…4567",
    "00 44 20 7946 0958": "…0958",
    "090-1234-5678": "…5678",
    "06 12 34 56 78": "…5678",
    "(030) 123456 78": "…5678",
    "call me at 030 1234567": "…4567",
    "Tel.: 030/1234567": "…4567",
    "Phone number is 2125550123.": "…0123",
    "\u96fb\u8a71\u756a\u53f7\uff1a\uff10\uff19\uff10\uff11\uff12\uff13\uff14\uff15\uff16\uff17\uff18": "…5678",
    "mobile 555 1234": "…34",
}
CARDS = {
    "4111 1111 1111 1111": "…1111",
    "card 4242424242424242, cvc 123": "…4242",
    "4111-1111-1111-1111": "…1111",
    "5500 0000 0000 0004 12/26": "…0004",
    "2223 0031 2200 3222": "…3222",
    "3782 822463 10005": "…0005",
    "378282246310005": "…0005",
    "3056 930902 5904": "…5904",
    "30569309025904": "…5904",
    "6011 1111 1111 1117": "…1117",
    "3530111333300000": "…0000",
    "4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1": "…1111",
    "4111.1111.1111.1111": "…1111",
    "4111\u00a01111\u20091111\u202f1111": "…1111",
    "4111\u200b1111\u200b1111\u200b1111": "…1111",
    "4111\u20111111\u20131111\u20141111": "…1111",
    "\uff14" + "\uff11" * 15: "…1111",
    "\u0664" + "\u0661" * 15: "…1111",
    "no. 12 4111 1111 1111 1111": "…1111",
}
IBANS = {
    "DE89 3704 0044 0532 0130 00": "DE…3000",
    "GB82WEST12345698765432": "GB…5432",
    "gb82 west 1234 5698 7654 32 and more": "GB…5432",
    "FR14 2004 1010 0505 0001 3M02 606": "FR…2606",
    "MT84MALT011000012345MTLCAST001S": "MT…001S",
    "DE89-3704-0044-0532-0130-00": "DE…3000",
}
# Written in two pieces, for other scanners read this file too.
KEYS = {
    "AIzaSyA1234567890abcdefghijklmnopqrstuv": "AIza…",
    "AKIAIOSFODNN7EXAMPLE": "AKIA…",
    "ghp_1234567890abcdefghijklmnopqrstuvwxyz": "gh…",
    "github_pat_11ABCDEFG0abcdefghijkl_mnop": "github_pat_…",
    "glpat-abcdefghij0123456789": "glpat-…",
    "xoxb-123456789012-abcdefGHIJ": "xox…",
    "sk_live_4eC39HqLyjWDarjtT1zdp7dc": "sk_live_…",
    "key=sk-proj-abcDEF1234567890abcdef1234": "sk-…",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N": "eyJ…",
    "-----BEGIN RSA PRIVATE KEY-----": "PEM…",
    "-----BEGIN PRIVATE KEY-----\nMIIE": "PEM…",
}
THERE = [
    (kind, text, masked)
    for kind, found in {
        Kind.EMAIL: EMAILS,
        Kind.PHONE: PHONES,
        Kind.CARD: CARDS,
        Kind.IBAN: IBANS,
        Kind.API_KEY: KEYS,
    }.items()
    for text, masked in found.items()
]
NOT_THERE = """\
Order 1234567890123456 shipped
order number HH-95597
from 2024-01-15 to 15.01.2024, or 01/15/2024 12:30:45
2024-01-15T12:30:45.123456Z
20240115123045
version 1.2.3.4567, then 10.15.7.1234
192.168.100.200 and 255.255.255.255
$1,234,567.89 or 1.234.567,89 EUR
3.141592653589793 and 0.4111111111111111
{"id": 9007199254740993, "timestamp": 1700000000000}
123456789 and 12345678901234567890123456789
ISBN 978-3-16-148410-0 or 0-306-40615-2
pages 100-200-3000
+100 points, +10,000,000 users, 5+12345678, +123
icon@2x.png and lodash@4.17.21
git@github.com:org/repo.git
@app.route and @mention
550e8400-e29b-41d4-a716-446655440000
1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16
phone case 12345678
the call number QA76.73
4f1d2e3c4b5a69788796a5b4c3d2e1f001234567
tracking 1Z999AA10123456784
sk-this-is-a-long-hyphenated-word-list
RE12 ABCD EFGH IJKL MNOP
look at example dot com
3840-2160-6000 and 0001-0002-0003
Rechnung 2024/000123/4567
IN 2023 1000 2000 3000 4000 5000
52.520008, 13.404954
1000000 2000000 3000000
00123456789
0010 1101 0110 1111
4111 1111 1111 1112
4111111111111111a and x4111111111111111
DE89 3704 0044 0532 0130 01
GHOST ghp_short AIzaShort eyJ.eyJ.eyJ""".splitlines()


def found(text, **options):
    return [(fault.code, fault.message) for fault in Scanner(**options).faults(text)]


@pytest.mark.parametrize(("kind", "text", "masked"), THERE)
def test_it_is_found_once_and_shown_masked(kind, text, masked):
    ((code, message),) = found(text)
    assert code == kind.code
    assert message.endswith(f": {masked}")


@pytest.mark.parametrize(("kind", "text", "masked"), THERE)
def test_it_is_found_inside_a_sentence_and_inside_json(kind, text, masked):
    for around in (f"So here ({text}) it is", f"{text}\nand on", json.dumps({"value": text}, ensure_ascii=False)):
        assert [code for code, _ in found(around)] == [kind.code]


@pytest.mark.parametrize("text", NOT_THERE)
def test_other_numbers_and_words_are_left_alone(text):
    assert found(text) == []


def test_only_what_was_asked_for_is_looked_for():
    text = "\n".join(text for _, text, _ in THERE)
    for kind in Kind:
        assert {code for code, _ in found(text, kinds=[kind])} == {kind.code}
    assert found(text, kinds=[]) == []


def test_a_fault_says_where_how_many_and_what_to_do():
    line = {
        "systemInstruction": {"parts": [{"text": "Be kind, sign as kim@ab.de."}]},
        "contents": [
            {"role": "user", "parts": [{"text": "a@ab.de"}, {"text": "I am jane@example.com or jane2@example.net"}]},
            {"role": "model", "parts": [{"functionCall": {"name": "f", "args": {"to": ["x", "+49 30 1234567"]}}}]},
        ],
    }
    faults = list(Scanner().faults(line))
    assert [(fault.code, fault.path) for fault in faults] == [
        ("private-email", "systemInstruction.parts[0].text"),
        ("private-email", "contents[0].parts[0].text"),
        ("private-email", "contents[0].parts[1].text"),
        ("private-phone", "contents[1].parts[0].functionCall.args.to[1]"),
    ]
    assert faults[2].message == "what looks like an e-mail address: j…@e….com, and 1 more"
    assert "Replace it" in faults[2].hint
    (key,) = Scanner().faults("AKIAIOSFODNN7EXAMPLE")
    assert key.hint.startswith("Revoke it")


def test_several_kinds_in_one_text_are_told_apart():
    codes = [code for code, _ in found("4111 1111 1111 1111, DE89 3704 0044 0532 0130 00, j@x.io, call 030 1234567")]
    assert codes == ["private-iban", "private-card", "private-email", "private-phone"]


def test_the_same_number_twice_is_one():
    assert "more" not in found("j.doe@x.io, again j.doe@x.io")[0][1]
    assert found("555-234-5678 or 555-234-5678 or 555-234-5679")[0][1].endswith("…5678, and 1 more")
    assert "more" not in found("phone 090-1234-5678 12")[0][1]  # two rules see it, one of them a little more of it


SECRETS = st.sampled_from([text for kind, text, _ in THERE if kind is not Kind.API_KEY])


@bounded
@given(st.lists(SECRETS | st.text(max_size=12), max_size=6).map(" ; ".join))
def test_no_message_shows_more_than_four_characters_of_a_match(text):
    for _, message in found(text):
        masked = message.split(": ", 1)[1]
        assert len(re.sub(r", and \d+ more$", "", masked)) <= 30
        assert all(len(digits) <= 4 for digits in re.findall(r"\d+", masked))


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=20) | SECRETS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)


@bounded
@given(JSON)
def test_the_quick_look_hides_nothing(document):
    """A pattern that matches nothing turns the quick look off; nothing else may change."""
    thorough = Scanner(patterns=[Pattern("nothing", r"(?!)")])
    assert list(Scanner().faults(document)) == list(thorough.faults(document))


@bounded
@given(st.text(st.sampled_from("+049 -.()@a:DEtel1\u00a0\u200b\uff11\n"), max_size=60))
def test_no_text_breaks_it(text):
    assert all(fault.code.startswith("private-") for fault in Scanner().faults(text))


def test_nesting_does_not_break_it():
    document = "j@example.com"
    for _ in range(5_000):
        document = [document]
    assert len(list(Scanner().faults(document))) == 1


def test_a_national_id_by_configuration():
    citizen = Pattern("Dutch citizen number", r"\b\d{9}\b", "mod11")
    ((code, message),) = found("BSN 111222333, invoice 111222334", patterns=[citizen])
    assert code == PATTERN_CODE
    assert message == "what looks like Dutch citizen number: …333"


def test_a_pattern_may_mark_its_number_and_have_separators():
    tax = Pattern("a German tax id", r"Steuer-?ID:? ((?:\d ?){11})", "mod11-10")
    assert found("SteuerID 86 095 742 719", patterns=[tax])[0][1].endswith("a German tax id: …2719")
    assert found("SteuerID 86 095 742 718", patterns=[tax]) == []


def test_a_pattern_without_checksum_takes_what_matches_and_nothing_empty():
    staff = Pattern("a staff number", r"\bEMP-\d{5}\b|x*")
    assert [message for _, message in found("by EMP-00421", patterns=[staff])] == [
        "what looks like a staff number: …421"
    ]


def test_what_a_pattern_took_is_no_phone_number():
    pattern = Pattern("a customer number", r"\b555-\d{3}-\d{4}\b")
    assert [code for code, _ in found("555-234-5678", patterns=[pattern])] == [PATTERN_CODE]


@pytest.mark.parametrize(
    ("pattern", "sentence"),
    [
        (Pattern("an id", "(["), r"the expression of 'an id' is no regular expression"),
        (Pattern("an id", r"\d+", "lun"), r"'an id' has the checksum 'lun'; did you mean 'luhn'\?; known are luhn, "),
    ],
)
def test_a_wrong_pattern_is_the_configurations_fault(pattern, sentence):
    with pytest.raises(ConfigError, match=sentence):
        Scanner(patterns=[pattern])


def test_the_caller_decides_whether_it_blocks():
    scanner = Scanner([Kind.EMAIL, Kind.CARD], [Pattern("an id", r"\d{9}")])
    assert scanner.severities(block=True) == dict.fromkeys(["private-card", "private-id", "private-email"], "error")
    assert set(scanner.severities(block=False).values()) == {"warning"}
    assert PATTERN_CODE not in Scanner().severities(block=True)
