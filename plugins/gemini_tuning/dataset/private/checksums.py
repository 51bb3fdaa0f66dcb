"""Check digits of payment cards, bank accounts and national ids: what tells such a number from any other number."""

from __future__ import annotations

from collections.abc import Callable, Mapping

_DOUBLED = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)


def luhn(number: str) -> bool:
    """Whether the last digit is right by Luhn (ISO/IEC 7812-1): cards, Swedish, Canadian and South African ids."""
    if not _digits(number):
        return False
    values = [int(digit) for digit in reversed(number)]
    return (sum(values[::2]) + sum(_DOUBLED[value] for value in values[1::2])) % 10 == 0


def mod97(number: str) -> bool:
    """Whether digits and letters (A = 10 to Z = 35) leave 1 when divided by 97 (ISO 7064, mod 97-10)."""
    if not (number.isascii() and number.isalnum()):
        return False
    return int("".join(str(int(character, 36)) for character in number)) % 97 == 1


def iban(number: str) -> bool:
    """Whether a bank account number without spaces has the length of its country and right check digits."""
    return len(number) == IBAN_LENGTHS.get(number[:2].upper()) and mod97(number[4:] + number[:4])


def mod11_10(number: str) -> bool:
    """Whether the last digit is right by ISO 7064, mod 11-10: German tax ids, Croatian OIB."""
    if not _digits(number):
        return False
    product = 10
    for digit in number[:-1]:
        product = ((int(digit) + product) % 10 or 10) * 2 % 11
    return (product + int(number[-1])) % 10 == 1


def mod11(number: str) -> bool:
    """Whether digits weighed by their place from the right, the last by -1, add up to a multiple of 11: Dutch BSN."""
    if not _digits(number):
        return False
    *front, last = (int(digit) for digit in number)
    return (sum(digit * weight for weight, digit in enumerate(reversed(front), 2)) - last) % 11 == 0


def verhoeff(number: str) -> bool:
    """Whether the last digit is right by Verhoeff: Indian Aadhaar."""
    if not _digits(number):
        return False
    check = 0
    for place, digit in enumerate(reversed(number)):
        value = int(digit)
        for _ in range(place % 8):
            value = _VERHOEFF_STEP[value]
        check = _dihedral(check, value)
    return check == 0


CHECKSUMS: Mapping[str, Callable[[str], bool]] = {
    "luhn": luhn,
    "mod97": mod97,
    "iban": iban,
    "mod11": mod11,
    "mod11-10": mod11_10,
    "verhoeff": verhoeff,
}

# SWIFT's IBAN registry: the length by country.
IBAN_LENGTHS = {
    country: length
    for length, countries in {
        15: "NO",
        16: "BE",
        18: "DK FI FK FO GL NL SD",
        19: "MK SI",
        20: "AT BA EE KZ LT LU MN XK",
        21: "CH HR LI LV",
        22: "BG BH CR DE GB GE IE ME RS VA",
        23: "AE GI IL IQ OM SO TL",
        24: "AD CZ ES MD PK RO SA SE SK TN VG",
        25: "LY PT ST",
        26: "IS TR",
        27: "BI DJ FR GR IT MC MR SM",
        28: "AL AZ BY CY DO GT HU LB NI PL SV",
        29: "BR EG PS QA UA",
        30: "JO KW MU YE",
        31: "MT SC",
        32: "LC",
        33: "RU",
    }.items()
    for country in countries.split()
}

_VERHOEFF_STEP = (1, 5, 7, 6, 2, 8, 3, 0, 9, 4)


def _digits(number: str) -> bool:
    return number.isascii() and number.isdigit() and len(number) > 1


def _dihedral(one: int, other: int) -> int:
    """Multiply in the dihedral group of ten elements."""
    if one < 5:
        return (one + other) % 5 if other < 5 else 5 + (one + other) % 5
    return 5 + (one - other) % 5 if other < 5 else (one - other) % 5
