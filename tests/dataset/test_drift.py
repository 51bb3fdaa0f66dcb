import math
import random
import statistics

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gemini_tuning.dataset.comparing.drift import CHANCE, LENGTH_DISTANCE, Profile, differences

bounded = settings(derandomize=True, max_examples=100, database=None, deadline=None)


def profile(examples):
    """Count examples given as prompt characters, answer and turns."""
    counted = Profile()
    for prompt_characters, answer, turns in examples:
        counted.add(prompt_characters, answer, turns)
    return counted


def labelled(**counts):
    return profile((100, label.replace("_", " "), 2) for label, count in counts.items() for _ in range(count))


def codes(train, validation):
    return [fault.code for fault in differences(train, validation)]


def prose(dice):
    """Draw an example of free text, of lengths as they are found."""
    length = int(dice.lognormvariate(5, 1))
    return length, f"{dice.random()} " * (length // 40 + 1), dice.choice((2, 2, 2, 4, 6))


def triage(dice):
    """Draw an example of classification into labels of unequal shares."""
    return int(dice.lognormvariate(4, 0.7)), dice.choices("abcdefgh", weights=(30, 20, 15, 10, 10, 5, 5, 5))[0], 2


@pytest.mark.parametrize("draw", [prose, triage])
@pytest.mark.parametrize(("training", "validation"), [(1_000, 20), (300, 60), (200, 200)])
def test_two_random_parts_of_one_dataset_raise_a_false_alarm_in_less_than_one_of_a_hundred(draw, training, validation):
    dice = random.Random(8)
    pool = [draw(dice) for _ in range(4_000)]
    alarms = 0
    for _ in range(300):
        parts = dice.choices(pool, k=training), dice.choices(pool, k=validation)
        alarms += bool(codes(*map(profile, parts)))
    assert alarms < 3


@pytest.mark.parametrize(("training", "validation"), [(1_000, 20), (300, 60), (200, 200)])
def test_labels_of_another_source_are_found_at_these_sizes(training, validation):
    dice = random.Random(9)
    train = profile(triage(dice) for _ in range(training))
    other = profile((int(dice.lognormvariate(4, 0.7)), dice.choice("gh"), 2) for _ in range(validation))
    assert codes(train, other) == ["label-drift"]


def test_longer_answers_are_told_with_numbers_a_person_can_check():
    train = profile((50, "x" * length, 2) for length in range(1, 101))
    validation = profile((50, "y" * length, 2) for length in range(71, 121))
    (fault,) = differences(train, validation)
    assert fault.code == "length-drift"
    assert fault.message == (
        "the answers are longer than in training: 0% of them have at most 70 characters, "
        "70% in training (medians 95 and 50; distance 0.70)"
    )
    assert fault.hint.startswith("Draw both files at random")


def test_shorter_prompts_and_more_turns_are_two_differences():
    train = profile((1_000 + number, f"answer {number}", 2) for number in range(100, 300))
    validation = profile((10 + number, f"reply: {number}", 6) for number in range(100, 200))
    prompts, turns = differences(train, validation)
    assert prompts.message.startswith("the prompts are shorter than in training: 100% of them have at most 208 char")
    assert turns.message.startswith("the examples are longer than in training: 0% of them have at most 2 turns, 100%")


def test_a_small_difference_is_not_worth_a_word_however_certain():
    train = profile((100 + number % 100, "same words", 2) for number in range(20_000))
    validation = profile((100 + number % 100 + 15, "same words", 2) for number in range(20_000))
    assert codes(train, validation) == []


@bounded
@given(
    st.lists(st.integers(0, 120), min_size=1, max_size=200),
    st.lists(st.integers(0, 120), min_size=1, max_size=200),
)
def test_the_distance_is_the_largest_gap_between_the_shares(train, validation):
    def share(lengths, at_most):
        return sum(length <= at_most for length in lengths) / len(lengths)

    gap = max(abs(share(train, length) - share(validation, length)) for length in range(121))
    limit = math.sqrt(math.log(2 / CHANCE) / 2 * (1 / len(train) + 1 / len(validation)))
    faults = [
        fault
        for fault in differences(*(profile((length, "", 2) for length in some) for some in (train, validation)))
        if fault.code == "length-drift"
    ]
    assert len(faults) == (gap > max(limit, LENGTH_DISTANCE))
    if faults:
        medians = f"{statistics.median_low(validation)} and {statistics.median_low(train)}"
        assert f"(medians {medians}; distance {gap:.2f})" in faults[0].message


def test_other_shares_of_labels_are_named_the_largest_first():
    train = labelled(refund=100, delivery=700, invoice=190, other=10)
    validation = labelled(refund=60, delivery=20, invoice=19, other=1)
    (fault,) = differences(train, validation)
    assert (fault.code, fault.message) == (
        "label-drift",
        "the labels have other shares than in training: 'refund' is 60%, in training 10%; "
        "'delivery' is 20%, in training 70% (distance 0.50)",
    )


def test_labels_that_training_never_shows_are_named():
    train = labelled(refund=100, delivery=100)
    validation = labelled(refund=48, delivery=48, Refund=3, late=2, lost=2, x=1)
    (fault,) = differences(train, validation)
    assert (fault.code, fault.message) == (
        "unseen-label",
        "4 different answers of validation never stand in training, whose answers are 2 labels: "
        "'Refund' (3), 'late' (2), 'lost' (2), and 1 more",
    )
    (fault,) = differences(train, labelled(refund=49, delivery=48, late=1))
    assert fault.message.startswith("1 answer of validation never stands in training")


def test_a_long_label_is_cut_and_a_line_break_does_not_break_the_line():
    train = labelled(refund=100, delivery=100)
    validation = profile([
        (100, "z" * 41, 2),
        (100, "a\nb", 2),
        *[(100, "refund", 2)] * 50,
        *[(100, "delivery", 2)] * 50,
    ])
    (fault,) = differences(train, validation)
    assert "'" + "z" * 39 + "…' (1)" in fault.message
    assert r"'a\nb' (1)" in fault.message
    assert "\n" not in fault.message


def test_free_text_is_not_taken_for_labels():
    dice = random.Random(1)
    train = profile((100, f"answer {dice.random()}", 2) for _ in range(1_000))
    assert not train.classifies
    assert codes(train, profile((100, f"reply {dice.random()} ", 2) for _ in range(200))) == []
    assert len(train.labels) <= 200


@pytest.mark.parametrize(
    ("counts", "classifies"),
    [
        ({"a": 10, "b": 10}, True),
        ({"a": 10, "b": 9}, False),
        ({f"label{number}": 10 for number in range(50)}, True),
        ({f"label{number}": 10 for number in range(51)}, False),
        ({"a": 500, "z" * 201: 5}, True),
        ({"a": 500, "z" * 201: 6}, False),
        ({}, False),
    ],
)
def test_few_answers_many_times_each_are_labels(counts, classifies):
    assert labelled(**counts).classifies is classifies


def test_answers_that_are_no_labels_against_labels():
    train = labelled(yes=300, no=300)
    validation = profile((100, "no, for " + "this reason " * 20, 2) for _ in range(50))
    (fault,) = differences(train, validation)
    assert fault.code == "label-drift"
    assert "any other answer is 100%, in training 0%" in fault.message


def test_white_space_around_a_label_is_no_difference():
    assert labelled(yes=10).labels == profile([(100, " yes\n", 2)] * 10).labels


def test_nothing_is_said_of_a_file_without_examples():
    filled = labelled(yes=100)
    assert codes(Profile(), filled) == codes(filled, Profile()) == codes(Profile(), Profile()) == []


def test_histograms_stay_small_and_nearly_exact():
    counted = profile((length, "", 2) for length in range(0, 3_000_000, 7))
    assert len(counted.prompts) < 1_200
    assert all(length in counted.prompts for length in range(0, 128, 7))
    alone = profile([(16_777_215, "", 2)])
    assert 16_777_215 * 0.99 < next(iter(alone.prompts)) <= 16_777_215
