import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.dataset.reports import finding, report

from gemini_tuning.dataset.reports.html import report_html
from gemini_tuning.dataset.reports.markdown import report_markdown
from gemini_tuning.dataset.reports.parts import groups, limit_uses, number, size, visible
from gemini_tuning.dataset.reports.report import MOST_BUCKETS, Distribution
from gemini_tuning.dataset.reports.text import report_text
from gemini_tuning.tuning.models import ModelTable


@pytest.mark.parametrize(
    ("count", "shown"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (99_400, "99.4 kB"),
        (123_456, "123 kB"),
        (999_999, "1.0 MB"),
        (1_000_000_000, "1.0 GB"),
        (12_345_000_000_000, "12,345.0 GB"),
    ],
)
def test_sizes_are_decimal_as_the_limits_are_written(count, shown):
    assert size(count) == shown


def test_numbers_have_a_decimal_only_where_they_need_one():
    assert [number(value) for value in (2.0, 2.25, 1234567, 0)] == ["2", "2.2", "1,234,567", "0"]


def test_what_can_be_seen_is_left_as_it_is():
    assert visible("contents[0].größe 日本語 🙂") == "contents[0].größe 日本語 🙂"
    assert visible("a\tb\u202e\udc80\x7f") == "a\\tb\\u202e\\udc80\\x7f"
    assert visible("x" * 10, longest=4) == "xxx…"


def test_a_code_that_the_table_does_not_know_is_shown_all_the_same():
    (group,) = groups(report(finding("of-a-later-version")))
    assert (group.code, group.count, group.meaning) == ("of-a-later-version", 1, "")


def test_limits_stand_beside_what_the_dataset_has():
    models = ModelTable.load()
    uses = limit_uses(report(files=("train.jsonl", "validation.jsonl")), "gemini-2.5-flash", models)
    limits = models.models["gemini-2.5-flash"].limits
    assert [(use.used, use.allowed) for use in uses] == [
        (1_234_567, limits.training_bytes),
        (5, limits.training_examples),
        (5, limits.validation_examples),
        (6, limits.tokens_per_example),
    ]
    assert limit_uses(report(), "projects/1/locations/x/models/2", models) == []


class TestBuckets:
    @settings(derandomize=True, max_examples=300, database=None, deadline=None)
    @given(st.dictionaries(st.integers(0, 10**9), st.integers(1, 10**6), min_size=1, max_size=60))
    def test_every_example_is_in_one_bucket(self, counts):
        buckets = Distribution.of(counts).buckets
        assert 1 <= len(buckets) <= MOST_BUCKETS
        for bucket in buckets:
            assert bucket.count == sum(n for value, n in counts.items() if bucket.left <= value <= bucket.right)
        assert sum(bucket.count for bucket in buckets) == sum(counts.values())
        assert all(one.right + 1 == next_.left for one, next_ in itertools.pairwise(buckets))

    def test_a_few_giants_do_not_flatten_the_rest(self):
        buckets = Distribution.of({**dict.fromkeys(range(10, 30), 100), 1_000_000: 1}).buckets
        assert len(buckets) > 5
        assert buckets[-1].right == 1_000_000


def test_a_report_is_cut_to_a_size_without_losing_a_count_or_a_code():
    errors = [finding(f"code-{code}", line) for code in range(30) for line in range(20)]
    whole = report(*errors)
    cut = whole.within(50_000)
    assert len(cut.model_dump_json()) <= 50_000 < len(whole.model_dump_json())
    assert cut.counts == whole.counts
    assert cut.truncated
    assert {one.code for one in cut.errors} == {one.code for one in errors}
    assert whole.within(10**9) is whole


def test_every_page_shows_what_was_left_out():
    noted = report().model_copy(update={"notes": ("Only <half> was looked at.",)})
    assert "Only <half> was looked at." in report_text(noted)
    assert "&lt;half&gt;" in report_markdown(noted)
    assert "Only &lt;half&gt; was looked at." in report_html(noted)
