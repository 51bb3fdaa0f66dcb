import base64
import hashlib
import re
from html.parser import HTMLParser
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.dataset.reports import HOSTILE, finding, hostile_report, report

from gemini_tuning.dataset.reports.drawings import distribution_drawing, roles_drawing
from gemini_tuning.dataset.reports.html import report_html
from gemini_tuning.dataset.reports.parts import visible
from gemini_tuning.tuning.models import ModelTable

VOID = {"meta", "br", "rect", "line"}


class Page(HTMLParser):
    """A parsed page: its elements in order, its texts, and whether every element is closed in its place."""

    def __init__(self, html):
        super().__init__()
        self.elements, self.texts, self.open = [], [], []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


def typical():
    errors = [finding(f"code-{code}", line) for code in range(12) for line in range(20)]
    return report(*errors, warnings=[finding("few-examples", None)], uncounted=80, files=("train.jsonl", "v.jsonl"))


def test_a_typical_page_is_small():
    assert len(report_html(typical()).encode()) < 60_000


def test_it_loads_nothing_and_runs_nothing_but_its_own_script():
    html = report_html(typical(), base_model="gemini-2.5-flash", models=ModelTable.load())
    page = Page(html)
    for tag, attributes in page.elements:
        assert tag not in {"link", "img", "iframe", "object", "embed", "base", "form"}
        assert not {name for name in attributes if name in {"src", "style"} or name.startswith("on")}
        assert attributes.get("href", "#").startswith("#")
    assert "url(" not in html
    assert "@import" not in html
    (script,) = re.findall(r"<script>(.*?)</script>", html, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    (policy,) = [meta["content"] for meta in page.all("meta") if "http-equiv" in meta]
    assert policy.startswith("default-src 'none';")
    assert f"script-src 'sha256-{digest}'" in policy


def test_findings_are_grouped_so_that_they_can_be_shown_by_code():
    page = Page(report_html(report(finding(), finding("last-turn"), finding(line=9), uncounted=1)))
    bodies = [body for body in page.all("tbody") if "data-code" in body]
    assert [body["data-code"] for body in bodies] == ["unknown-field", "last-turn"]
    assert [option["value"] for option in page.all("option")] == ["", "unknown-field", "last-turn"]
    assert {link["href"] for link in page.all("a")} == {f"#{body['id']}" for body in bodies}
    assert "hidden" in page.all("label")[0]  # until the script shows it
    assert not [body for body in bodies if "hidden" in body]
    text = " ".join(page.texts)
    assert "3 more" not in text
    assert "1 more" in text


def test_two_files_of_one_name_are_told_apart():
    one = report(finding(file="a/t.jsonl"), finding(file="b/t.jsonl"), files=("a/t.jsonl", "b/t.jsonl"))
    assert {"a/t.jsonl:3", "b/t.jsonl:3"} <= set(Page(report_html(one)).texts)
    apart = report(finding(file="a/t.jsonl"), files=("a/t.jsonl", "a/v.jsonl"))
    assert "t.jsonl:3" in Page(report_html(apart)).texts


def test_it_can_be_read_by_those_who_see_no_drawing():
    page = Page(report_html(typical(), base_model="gemini-2.5-flash", models=ModelTable.load()))
    assert page.all("html") == [{"lang": "en"}]
    assert len(page.all("h1")) == 1
    drawings = page.all("svg")
    assert len(drawings) == 4
    assert all(drawing["role"] == "img" for drawing in drawings)
    assert drawings[0]["aria-label"] == "turns per training example: min 2, median 2, mean 3.2, p95 6, max 6"
    headings = [attributes for tag, attributes in page.elements if tag == "th"]
    assert all(heading["scope"] in {"col", "row", "rowgroup"} for heading in headings)


def test_limits_are_shown_for_a_known_model_only():
    models = ModelTable.load()
    assert len(Page(report_html(report(), base_model="gemini-2.5-flash", models=models)).all("meter")) == 3
    both = report(files=("train.jsonl", "validation.jsonl"))
    assert len(Page(report_html(both, base_model="gemini-2.5-flash", models=models)).all("meter")) == 4
    assert report_html(report(), base_model="gemini-9", models=models) == report_html(report())


def test_a_report_without_figures_is_a_page_too():
    bare = report(estimate=False).model_copy(update={"statistics": None})
    page = Page(report_html(bare))
    assert page.all("svg") == []
    assert "unknown" in page.texts
    assert "Nothing was found wrong." in page.texts


def measure(buckets=(), **figures):
    numbers = {"min": 1, "mean": 2.5, "median": 2, "p95": 6, "max": 9, **figures}
    return SimpleNamespace(name="turns", distribution=SimpleNamespace(**numbers, buckets=buckets))


def test_a_histogram_has_one_bar_for_each_bucket_as_high_as_its_count():
    counts = [4, 0, 8, 1]
    buckets = [SimpleNamespace(left=2 * n, right=2 * n + 1, count=count) for n, count in enumerate(counts)]
    page = Page(distribution_drawing(measure(buckets)))
    heights = [float(rect["height"]) for rect in page.all("rect") if rect["class"] == "bar"]
    assert heights[0] * 2 == heights[2]
    assert heights[1] == 0
    assert heights[3] * 8 == pytest.approx(heights[2])
    assert next(text for text in page.texts if ":" in text) == "0 to 1: 4 examples"


def test_a_last_bucket_that_holds_all_the_rest_says_so():
    edges = [(0, 9), (10, 19), (20, 4000)]
    page = Page(distribution_drawing(measure([SimpleNamespace(left=a, right=b, count=1) for a, b in edges])))
    assert page.texts.count("20 to 4,000") == 1
    equal = Page(distribution_drawing(measure([SimpleNamespace(left=a, right=b, count=1) for a, b in edges[:2]])))
    assert "19" in equal.texts


def test_one_example_among_millions_can_still_be_seen():
    buckets = [SimpleNamespace(left=n, right=n, count=count) for n, count in enumerate([10_000_000, 1])]
    page = Page(distribution_drawing(measure(buckets)))
    assert float([rect for rect in page.all("rect") if rect["class"] == "bar"][1]["height"]) >= 1
    assert "1: 1 example" in page.texts


@pytest.mark.parametrize("figures", [{}, {"min": 3, "mean": 3, "median": 3, "p95": 3, "max": 3}])
def test_without_buckets_five_numbers_are_drawn_within_the_drawing(figures):
    page = Page(distribution_drawing(measure(**figures)))
    for rect in page.all("rect"):
        assert float(rect["x"]) >= 0
        assert float(rect["x"]) + float(rect["width"]) <= 320


def test_roles_that_nobody_played_are_drawn():
    assert "model" in Page(roles_drawing({"user": 0, "model": 0})).texts


def names(attributes):
    return set(attributes) - {"class"}  # short places are kept on one line


def assert_harmless(text):
    expected, page = Page(report_html(hostile_report("x"))), Page(report_html(hostile_report(text)))
    assert [tag for tag, _ in page.elements] == [tag for tag, _ in expected.elements]
    assert [names(attributes) for _, attributes in page.elements] == [names(a) for _, a in expected.elements]
    assert visible(text) in page.texts


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_names_and_keys_are_text_and_nothing_else(text):
    assert_harmless(text)


@settings(derandomize=True, max_examples=100, database=None, deadline=None)
@given(st.text(min_size=1, max_size=24))
def test_any_text_is(text):
    assert_harmless(text)


def test_what_cannot_be_tuned_on_has_no_price():
    found = report(finding())
    for examples, shown in ((0, "unknown"), (5, "$0.02")):
        files = (found.train.model_copy(update={"examples": examples}),)
        texts = Page(report_html(found.model_copy(update={"files": files}))).texts
        assert texts[texts.index("estimated cost") + 1] == shown
        assert ("Cost" in texts) == bool(examples)
