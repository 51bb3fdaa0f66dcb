import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gemini_tuning.dataset.comparing.shingles import AT_ONCE, Shingler, _normal, slices

bounded = settings(derandomize=True, max_examples=300, database=None, deadline=None)
pieces = ["the", "cat,", "sat", "\u00f6n", "\u732b\u304c", "\u0e01\u0e32", "A.B", "\0", "\x85", "\u2019", "\ud800"]
anything = st.text(max_size=60) | st.lists(st.sampled_from(pieces)).map(" ".join)


def triples(*words):
    return {tuple(word.encode() for word in three) for three in zip(words, words[1:], words[2:], strict=False)}


def test_case_and_punctuation_make_no_difference():
    assert Shingler().exact("Where is\tmy PARCEL, please?!") == triples("where", "is", "my", "parcel", "please")
    assert Shingler().exact("“Où est” — mon colis…") == triples("où", "est", "mon", "colis")


def test_scripts_without_spaces_are_compared_by_character():
    assert Shingler().exact("荷物が届く。") == triples(*"荷物が届く")
    assert Shingler().exact("注文ABC") == triples("注", "文", "abc")


def test_two_ways_to_write_a_character_are_one():
    assert Shingler().exact("cafe\u0301 au lait") == Shingler().exact("caf\u00e9 au lait") != set()


@bounded
@given(st.lists(anything, min_size=1, max_size=6))
def test_hashes_of_many_prompts_at_once_stand_for_their_shingles(prompts):
    shingler = Shingler()
    hashes, offsets, *_ = shingler.batch(prompts)
    assert len(offsets) == len(prompts) + 1
    sets = [set(hashes[start:end].tolist()) for start, end in itertools.pairwise(offsets)]
    exact = [shingler.exact(prompt) for prompt in prompts]
    for one, other in itertools.product(range(len(prompts)), repeat=2):
        assert len(sets[one] & sets[other]) == len(exact[one] & exact[other])
        assert len(sets[one]) == len(exact[one])


@bounded
@given(
    st.lists(
        anything | st.lists(st.sampled_from(["7", "order no. 12", "x1", "7 is x", "\u0667", "\uff17"])).map(" ".join),
        max_size=6,
    )
)
def test_digests_are_equal_where_the_words_are(prompts):
    batch = Shingler().batch(prompts or [""])
    said = [_normal([prompt]).split() for prompt in prompts]
    plain = [[word for word in words if not any(48 <= byte < 58 for byte in word)] for words in said]
    plain = [some if some and len(some) >= 0.7 * len(words) else 0 for some, words in zip(plain, said, strict=True)]
    for one, other in itertools.product(range(len(prompts)), repeat=2):
        assert (batch.words[one] == batch.words[other]) == (said[one] == said[other])
        assert (batch.numberless[one] == batch.numberless[other]) == (plain[one] == plain[other])
    assert [digest == 0 for digest in batch.numberless[: len(prompts)]] == [words == 0 for words in plain]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("caf\u00e9 na\u00efve", ["caf\u00e9", "na\u00efve"]),
        ("\u00bfqu\u00e9?", ["qu\u00e9"]),
        ("\u201cquoted\u201d\u2026", ["quoted"]),
        ("\u732b\u304c", ["\u732b", "\u304c"]),
        ("\u1000\u1001", ["\u1000", "\u1001"]),
        ("\u3000a\uff0cb", ["a", "b"]),
    ],
)
def test_what_divides_words_in_other_scripts(text, words):
    assert _normal([text]).decode().split() == words


def test_what_many_prompts_share_is_left_out():
    shingler = Shingler()
    shingler.learn([f"Answer as our support team does. Question {number} about item {number}" for number in range(100)])
    template = "Answer as our support team does."
    assert shingler.exact(f"{template} My kettle leaks") == triples("team", "does", "my", "kettle", "leaks")
    hashes, offsets, counts, *_ = shingler.batch([template, f"{template} My kettle leaks"])
    assert offsets.tolist() == [0, 0, 3]
    assert len(hashes) == 3
    assert counts.tolist() == [4, 7]


def test_what_a_prompt_repeats_is_no_template():
    shingler = Shingler()
    shingler.learn(["so it is and " * 200, *(f"{number} is a number of its own" for number in range(10))])
    assert ("is", "a", "number") in {
        tuple(word.decode() for word in three) for three in shingler.exact("2 is a number")
    }
    assert len(shingler.exact("so it is and so")) == 3


@pytest.mark.parametrize("lengths", [[], [1], [AT_ONCE], [5, AT_ONCE, 5], [AT_ONCE // 2] * 5])
def test_slices_are_all_of_it_in_order_and_bounded(lengths):
    prompts = [letter * length for letter, length in zip("abcdefg", lengths, strict=False)]
    parts = list(slices(prompts))
    assert [prompt for part in parts for prompt in part] == prompts
    assert all(sum(map(len, part[:-1])) < AT_ONCE for part in parts)
