import random
from array import array

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gemini_tuning.dataset.comparing import near as near_module
from gemini_tuning.dataset.comparing import numbers
from gemini_tuning.dataset.comparing.near import NearDuplicates, fits_in_a_minute, learned_from
from gemini_tuning.dataset.lines.examples import digest

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
    found.learn(train[place] for place in learned_from(array("Q", map(digest, train)), sum(map(len, train))))
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
    assert found.unverified == (0, 0)


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


def told(train, validation=(), **options):
    """Return code, line and message of what is found."""
    _, found = compare(train, validation, **options)
    texts = {"train.jsonl": train, "validation.jsonl": validation}
    findings = found.findings(lambda file, line: texts[file][line - 1])
    return [(finding.code, finding.line, finding.message) for finding in findings], found


def orders(count, start=1_000):
    text = "Please tell me what your shop does when an article such as order {} arrives broken at my home in Kiel"
    return [text.format(number) for number in range(start, start + count)]


def test_many_prompts_that_are_the_same_but_for_numbers_are_told_together():
    others = [prose(seed) for seed in range(288)]
    findings, found = told([*others, *orders(21)])
    assert findings == [
        ("near-duplicate", 290, "21 prompts are the same but for numbers: lines 289, 290, 291 and 18 more")
    ]
    assert [len(lines) for lines in found.templated] == [0, 0]
    few, _ = told([*others, *orders(20)])
    assert [line for _, line, _ in few] == list(range(290, 309))  # of no more, each is told of
    assert all("three-word phrases in common" in message for _, _, message in few)


def test_so_are_those_that_come_after_the_template_was_learned():
    findings, found = told([prose(seed) for seed in range(3_000)] + orders(400))
    assert [(code, line) for code, line, _ in findings] == [("near-duplicate", 3_002)]
    assert (found.unverified, found.sampled) == ((0, 0), None)


def test_validation_that_is_training_but_for_numbers_is_told_together():
    train = [*(prose(seed) for seed in range(50)), *orders(40)]
    validation = [prose("v"), train[60], *orders(10, start=5_000)]
    findings, _ = told(train, validation)
    assert findings == [
        ("near-duplicate", 52, "40 prompts are the same but for numbers: lines 51, 52, 53 and 37 more"),
        (
            "near-duplicate-leak",
            3,
            "the prompt is that of training line 51 but for numbers; so are 10 here: lines 3, 4, 5 and 7 more",
        ),
    ]
    findings, _ = told([prose(0), orders(1)[0]], orders(25, start=5_000))
    assert [(code, line) for code, line, _ in findings] == [("near-duplicate-leak", 1)]
    findings, _ = told(train, orders(1, start=5_000))
    assert findings[1][2] == "the prompt is that of training line 51 but for numbers"
    assert told([prose(0)], orders(25))[0] == []


def test_the_first_of_them_is_still_compared_with_other_prompts():
    train = [*(prose(seed) for seed in range(3_000)), *orders(30), orders(1)[0].replace("Kiel", "Bonn")]
    findings, _ = told(train, [orders(1)[0].replace("Kiel", "Ulm")])
    assert [(code, line) for code, line, _ in findings] == [
        ("near-duplicate", 3_002),
        ("near-duplicate-leak", 1),
        ("near-duplicate", 3_031),
    ]
    assert all("training line 3001" in message for _, _, message in findings[1:])


@pytest.mark.parametrize(
    "train",
    [
        [*orders(1) * 30, *orders(9, start=2_000)],
        [f"{number} {number + 1}, {number + 2}." for number in range(100)],
        [f"Patient of {number} years, glucose {number + 70}, weight {number + 1}: ill?" for number in range(100)],
    ],
    ids=["copies are no variants", "nothing but numbers", "numbers are what it is about"],
)
def test_what_is_not_told_as_the_same_but_for_numbers(train):
    findings, _ = told([*train, *(prose(seed) for seed in range(50))])
    assert not [message for _, _, message in findings if "numbers" in message]


def test_larger_groups_come_first():
    train = [
        f"{text} {number}"
        for number in range(60)
        for text in ("Where is order", "When comes order")[: 1 + (number < 40)]
    ]
    findings, _ = told(train)
    assert [message.split()[0] for _, _, message in findings] == ["60", "40"]


words_and_numbers = st.lists(st.sampled_from(["a b c", "b c", "c", "a1", "7", "1,5", "8"]), max_size=4).map(" ".join)


@bounded
@given(st.lists(words_and_numbers, max_size=14), st.lists(words_and_numbers, max_size=8))
def test_groups_are_those_of_the_plainest_way_there_is(train, validation):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(numbers, "MANY", 2)
        findings, _ = told(train, validation)
    words = {prompt: prompt.replace(",", " ").split() for prompt in [*train, *validation]}
    frames = {prompt: tuple(filter(str.isalpha, said)) for prompt, said in words.items()}
    expected = set()
    for frame in set(frames.values()) - {()}:
        prompts = [
            prompt for prompt, said in words.items() if frames[prompt] == frame and len(frame) >= 0.7 * len(said)
        ]
        trained = [train.index(prompt) + 1 for prompt in prompts if prompt in train]
        leaked = [validation.index(prompt) + 1 for prompt in prompts if prompt not in train]
        if len(prompts) > 2 and trained:
            expected |= {("near-duplicate", trained[1])} if len(trained) > 1 else set()
            expected |= {("near-duplicate-leak", leaked[0])} if leaked else set()
    assert {(code, line) for code, line, message in findings if "numbers" in message} == expected


def test_copies_of_a_prompt_do_not_hide_those_nearly_like_it():
    train = [*(prose(seed) for seed in range(100)), *[prose("copied")] * 40, changed(prose("copied"), [4])]
    pairs, found = compare(train, [changed(prose("copied"), [20])])
    assert [(pair.line, pair.training_line, pair.leak) for pair in pairs] == [(1, 101, True), (141, 101, False)]
    assert [len(lines) for lines in found.templated] == [0, 0]


def test_prompts_that_only_a_template_makes_long_are_counted_by_line():
    template = prose("instructions", 40)
    names = [f"{template} {prose(seed, 2)}" for seed in range(60)]
    findings, found = told([*(prose(seed) for seed in range(200)), *names], [names[0] + " again"])
    assert findings == []
    assert [lines.tolist() for lines in found.templated] == [list(range(201, 261)), [1]]


def test_prompts_of_few_words_are_not_compared():
    pairs, found = compare(["What is the capital of France", prose(1)], ["What is the capital of Spain", ""])
    assert pairs == []
    assert [file.looked_at for file in found._files] == [(1, 1), (0, 0)]
    assert [len(lines) for lines in found.templated] == [0, 0]
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
    pairs, _ = compare(train, validation)
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
    assert found.unverified == (17, 0)
    monkeypatch.setattr(near_module, "VERIFIED", 1)
    assert found.unverified == (20, 1)


def test_of_a_long_file_a_sample_is_compared_and_said_so(monkeypatch):
    monkeypatch.setattr(near_module, "KEPT", 600)
    train = [prose(seed) for seed in range(1_000)]
    train += [changed(text, [11]) for text in train]
    pairs, found = compare(train)
    looked_at, of = found.sampled
    assert of == 2_000
    assert 300 <= looked_at <= 600
    assert 0.25 * looked_at <= len(pairs) <= looked_at / 2  # chance alone would leave an eighth of them together
    assert all(pair.line == pair.training_line + 1_000 for pair in pairs)
    again, _ = compare(train)
    assert again == pairs
    other_way, _ = compare(train[::-1])
    assert {2_001 - pair.line for pair in other_way} == {pair.training_line for pair in pairs}


def test_a_finding_names_lines_share_threshold_and_sample_but_no_text(monkeypatch):
    monkeypatch.setattr(near_module, "KEPT", 200)
    train = [prose(seed) for seed in range(300)]
    found = NearDuplicates("train.jsonl", "validation.jsonl")
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
    assert (pairs, found.sampled, found.unverified, found.wanted()) == ([], None, (0, 0), (set(), set()))


@pytest.mark.parametrize("threshold", [0.0, 0.49, 1.01, float("nan")])
def test_a_threshold_is_a_share_that_sketches_can_find(threshold):
    with pytest.raises(ValueError, match=r"goes from 0\.5 to 1"):
        NearDuplicates("train.jsonl", threshold=threshold)


def test_files_the_service_takes_fit_in_a_minute():
    assert fits_in_a_minute(3_300_000, 1_000_000_000)
    assert not fits_in_a_minute(3_300_000, 3_000_000_000)
