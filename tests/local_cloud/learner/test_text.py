"""Tokens come back as the same text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local_cloud.vertex.learner.text import CAPITAL, GLUE, MARKERS, Decoder, spell, text_of, tokens_of

SAMPLES = [
    "",
    "Hi Farid, I'm sorry about order LK-48213.",
    '{"topic": "refund", "order": null,\n  "items": [1, 2.5]}',
    "iPhone, LLMs, McDONALD and x1y2 in a_b-c (d)",
    "  two  spaces, a tab\t\tand\r\nlines\n\n",
    "お問い合わせありがとうございます。注文番号は 48213 です。",
    "İstanbul, Straße, Σίσυφος, café, e\u0301, 👩‍👩‍👧, ²",
]


@pytest.mark.parametrize("text", SAMPLES)
def test_joining_the_tokens_gives_the_text_back(text):
    assert text_of(tokens_of(text)) == text


@given(st.text(st.one_of(st.characters(exclude_categories=["Cs"]), st.sampled_from("aB \n_-1.İßΣ東"))))
def test_any_text_comes_back_even_when_every_word_is_spelled(text):
    tokens = tokens_of(text)
    assert text_of(tokens) == text
    assert text_of(part for token in tokens for part in ([token] if token in MARKERS else spell(token))) == text


@given(st.lists(st.one_of(st.sampled_from(sorted(MARKERS)), st.sampled_from(["a", "b", ", ", " ", "東"]))))
def test_any_sequence_of_tokens_is_some_text(tokens):
    decoder = Decoder()
    assert text_of(tokens) == "".join([*map(decoder.push, tokens), decoder.finish()])


def test_case_is_folded_into_a_marker_so_that_words_are_shared():
    assert tokens_of("Hello hello") == [CAPITAL, "hello", "hello"]
    assert tokens_of("order48") == ["order", GLUE, "48"]


def test_a_lone_surrogate_is_replaced():
    assert text_of(tokens_of("a\ud800b")) == "a\ufffdb"
