import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gemini_tuning.dataset.private.checksums import (
    CHECKSUMS,
    IBAN_LENGTHS,
    iban,
    luhn,
    mod11,
    mod11_10,
    mod97,
    verhoeff,
)

RIGHT = [
    (luhn, "4111111111111111"),
    (luhn, "79927398713"),
    (luhn, "8001015009087"),  # a South African id
    (mod97, "3214282912345698765432161182"),  # ISO 13616's example, rearranged
    (mod97, "54930084UKLVMY22DS16"),  # a legal entity identifier
    (iban, "DE89370400440532013000"),
    (iban, "GB82WEST12345698765432"),
    (iban, "MT84MALT011000012345MTLCAST001S"),
    (iban, "NO9386011117947"),
    (mod11_10, "86095742719"),  # a German tax id
    (mod11_10, "69435151530"),  # a Croatian OIB
    (mod11, "111222333"),  # a Dutch citizen number
    (verhoeff, "2363"),
    (verhoeff, "123451"),
]


@pytest.mark.parametrize(("checksum", "number"), RIGHT)
def test_a_right_number_passes_and_every_wrong_digit_is_caught(checksum, number):
    assert checksum(number)
    for place, digit in enumerate(number):
        if digit.isdigit():
            for other in set("0123456789") - {digit}:
                assert not checksum(number[:place] + other + number[place + 1 :])


def test_an_iban_has_the_length_of_its_country():
    assert not iban("DE8937040044053201300")
    assert not iban("XX89370400440532013000")
    assert sum(1 for _ in IBAN_LENGTHS) > 80


@settings(derandomize=True, max_examples=200, database=None, deadline=None)
@given(st.text(max_size=20) | st.text("0123456789", max_size=20))
def test_any_text_is_right_or_wrong(text):
    assert {check(text) for check in CHECKSUMS.values()} <= {True, False}


@pytest.mark.parametrize("name", CHECKSUMS)
@pytest.mark.parametrize("text", ["", "0x", "12 34", "-12", "\u0661\u0662"])
def test_what_is_no_number_is_wrong(name, text):
    assert not CHECKSUMS[name](text)
