import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gemini_tuning.dataset.comparing import near as near_module
from gemini_tuning.dataset.comparing.near import NearDuplicates, fits_in_a_minute

bounded = settings(derandomize=True, max_examples=60, database=None, deadline=None)
VOCABULARY = [a + b + c for a in "bdklmnprst" for b in "aeiou" for c in "bdfgklmnprstvz"]


def prose(seed, words=30):
    return " ".join(random.Random(seed).choices(VOCABULARY, k=words))


def changed(text, places, word="else"):
    words = text.split()
    for place in places:
        words[place] = f"{word}{place}"
    return " ".join(words)


def jaccard(one, other):
    """Return the share in the plainest way there is."""
    sets = [{tuple(w[i : i + 3]) for i in range(len(w) - 2)} for w in (one.lower().split(), other.lower().split())]
    return len(sets[0] & sets[1]) / len(sets[0] | sets[1])


def compare(train, validation=(), **options):
    """Return the pairs among prompts numbered from 1, and the comparison itself."""
    found = NearDuplicates("train.jsonl", "validation.jsonl", **options)
    for line, prompt in enumerate(train, 1):
        found.add_training(line, prompt)
    for line, prompt in enumerate(validation, 1):
        found.add_validation(line, prompt)
    texts = {"train.jsonl": train, "validation.jsonl": validation}
    return list(found.pairs(lambda file, line: texts[file][line - 1])), found


def test_a_validation_prompt_nearly_in_training_is_found():
    train = [prose(seed) for seed in range(500)]
    validation = [prose("other"), changed(train[321], [15])]
    pairs, _ = compare(train, validation)
    assert [(pair.line, pair.training_line, pair.leak) for pair in pairs] == [(2, 322, True)]
    assert pairs[0].share == jaccard(train[321], validation[1]) == 25 / 31


def test_training_prompts_nearly_alike_are_found_and_point_backwards():
    train = [prose(seed) for seed in range(500)]
    train[400] = changed(train[7], [4])
    pairs, _ = compare(train)
    assert [(pair.line, pair.training_line, pair.leak) for pair in pairs] == [(401, 8, False)]


def test_leaks_come_before_repetitions():
    train = [prose(seed) for seed in range(50)]
    train[40] = changed(train[7], [4])
    pairs, _ = compare(train, [changed(train[9], [0])])
    assert [pair.leak for pair in pairs] == [True, False]


def test_plain_duplicates_are_not_its_business():
    train = [prose(seed) for seed in range(20)]
    pairs, found = compare([*train, train[3], train[4].upper().replace(" ", "\n ") + " ."], [train[5]])
    assert pairs == []
    assert found.unverified == 0


def test_the_same_words_with_other_punctuation_are_near_duplicates():
    pairs, _ = compare([prose(1), prose(2)], [prose(2).replace(" ", ", ")])
    assert [(pair.line, pair.training_line, pair.share) for pair in pairs] == [(1, 2, 1.0)]


def test_japanese_prompts_are_compared_too():
    asked = "先週の月曜日に注文した電気ケトルがまだ届いていません。注文番号を調べて配送状況を教えてください。"
    other = "パスワードを忘れてしまったので、再設定の方法を詳しく説明していただけますか。よろしくお願いします。"
    pairs, _ = compare([other, asked], [asked.replace("月曜日", "火曜日")])
    assert [(pair.line, pair.training_line) for pair in pairs] == [(1, 2)]


def test_prompts_of_one_template_are_not_alike():
    template = prose("instructions", 120)
    train = [f"{template} {prose(seed, 15)}" for seed in range(300)]
    validation = [f"{template} {prose('unseen', 15)}", f"{template} {train[5].removeprefix(template)} soon"]
    pairs, _ = compare(train, validation)
    assert [(pair.line, pair.training_line) for pair in pairs] == [(2, 6)]


def test_prompts_of_few_words_are_counted_as_not_compared():
    pairs, found = compare(["What is the capital of France", prose(1)], ["What is the capital of Spain", ""])
    assert pairs == []
    assert found.too_short == 3
    assert found.sampled is None


@pytest.mark.parametrize("threshold", [0.5, 0.7, 0.9])
def test_nothing_below_the_threshold_is_reported_and_little_above_is_missed(threshold):
    train = [prose(seed, 60) for seed in range(400)]
    dice = random.Random(5)
    validation = [changed(text, dice.sample(range(60), dice.randint(1, 9))) for text in train]
    pairs, _ = compare(train, validation, threshold=threshold)
    shares = {line: jaccard(validation[line - 1], train[line - 1]) for line in range(1, 401)}
    assert {pair.line: pair.share for pair in pairs}.items() <= shares.items()
    assert all(pair.share >= threshold for pair in pairs)
    there = [line for line, share in shares.items() if share >= max(threshold, 0.7)]
    assert len(there) > 25
    assert len({pair.line for pair in pairs} & set(there)) >= 0.96 * len(there)


@bounded
@given(st.lists(st.lists(st.sampled_from("abcdefghij"), max_size=16).map(" ".join), max_size=12), st.integers(0, 12))
def test_every_reported_share_is_exact(prompts, edge):
    train, validation = prompts[:edge], prompts[edge:]
    pairs, _ = compare(train, validation, threshold=0.5)
    for pair in pairs:
        here = validation if pair.leak else train
        assert pair.share == jaccard(here[pair.line - 1], train[pair.training_line - 1]) >= 0.5
        assert pair.leak or pair.training_line < pair.line
    assert len(pairs) == len({(pair.leak, pair.line) for pair in pairs})


@bounded
@given(st.lists(st.text(max_size=80), max_size=8), st.lists(st.text(max_size=80), max_size=3))
def test_no_text_breaks_it(train, validation):
    pairs, found = compare(train, validation)
    assert found.too_short + sum(file.looked_at[1] for file in found._files) == len(train) + len(validation)
    assert all(0.7 <= pair.share <= 1 for pair in pairs)


def test_a_large_cluster_takes_one_comparison_a_line():
    text = prose(0, 60)
    train = [prose(seed) for seed in range(1, 2_001)] + [changed(text, [seed % 60], f"x{seed}") for seed in range(900)]
    read = []
    found = NearDuplicates("train.jsonl")
    for line, prompt in enumerate(train, 1):
        found.add_training(line, prompt)

    def text_of(file, line):
        read.append((file, line))
        return train[line - 1]

    wanted = found.wanted()
    assert read == []
    pairs = list(found.pairs(text_of))
    assert wanted == ({line for _, line in read}, set())
    assert len(pairs) > 850
    assert len(read) <= 2 * 900


def test_too_many_pairs_are_counted_and_leaks_come_first(monkeypatch):
    monkeypatch.setattr(near_module, "VERIFIED", 5)
    train = [prose(seed) for seed in range(40)] + [changed(prose(seed), [3]) for seed in range(20)]
    pairs, found = compare(train, [changed(train[30], [9]), changed(train[31], [9])])
    assert [pair.leak for pair in pairs] == [True, True, False, False, False]
    assert found.wanted() == (
        {pair.training_line for pair in pairs} | {pair.line for pair in pairs if not pair.leak},
        {1, 2},
    )
    assert found.unverified == 17


def test_of_a_long_file_a_sample_is_compared_and_said_so():
    train = [prose(seed) for seed in range(1_000)]
    train += [changed(text, [11]) for text in train]
    pairs, found = compare(train, kept=600)
    looked_at, of = found.sampled
    assert of == 2_000
    assert 300 <= looked_at <= 600
    assert 0.25 * looked_at <= len(pairs) <= looked_at / 2  # chance alone would leave an eighth of them together
    assert all(pair.line == pair.training_line + 1_000 for pair in pairs)
    again, _ = compare(train, kept=600)
    assert again == pairs


def test_a_finding_names_lines_share_threshold_and_sample_but_no_text():
    train = [prose(seed) for seed in range(300)]
    found = NearDuplicates("train.jsonl", "validation.jsonl", kept=200)
    for line, prompt in enumerate(train, 1):
        found.add_training(line, prompt)
    kept = found._files[0].lines.tolist()
    validation = [changed(train[kept[50] - 1], [15])]
    found.add_validation(1, validation[0])
    (finding,) = found.findings(lambda file, line: (train if file == "train.jsonl" else validation)[line - 1])
    assert (finding.code, finding.file, finding.line) == ("near-duplicate-leak", "validation.jsonl", 1)
    looked_at = len(kept) + 1
    assert finding.message == (
        f"the prompt has 80% of its three-word phrases in common with that of training line {kept[50]} "
        f"(reported from 70% on; looked at {looked_at} of 301 prompts)"
    )
    assert finding.hint == "Keep it in one of the two files."


def test_a_finding_within_training():
    train = [prose(1), changed(prose(1), [15])]
    found = NearDuplicates("train.jsonl", threshold=0.8)
    found.add_training(1, train[0])
    found.add_training(9, train[1])
    (finding,) = found.findings(lambda _, line: {1: train[0], 9: train[1]}[line])
    assert (finding.code, finding.file, finding.line) == ("near-duplicate", "train.jsonl", 9)
    assert "training line 1 (reported from 80% on)" in finding.message


def test_only_the_beginning_of_a_huge_prompt_is_compared():
    huge = prose(0, 40_000)
    pairs, _ = compare([huge + " " + prose(1, 20_000)], [huge + " " + prose(2, 20_000)])
    assert [pair.share for pair in pairs] == [1.0]


def test_nothing_at_all():
    pairs, found = compare([])
    assert (pairs, found.sampled, found.too_short) == ([], None, 0)


@pytest.mark.parametrize("threshold", [0.0, 0.49, 1.01, float("nan")])
def test_a_threshold_is_a_share_that_sketches_can_find(threshold):
    with pytest.raises(ValueError, match=r"goes from 0\.5 to 1"):
        NearDuplicates("train.jsonl", threshold=threshold)


def test_files_the_service_takes_fit_in_a_minute():
    assert fits_in_a_minute(3_300_000, 1_000_000_000)
    assert not fits_in_a_minute(3_300_000, 3_000_000_000)
