import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from tests.dataset.reports import HOSTILE, finding, hostile_report, report

from gemini_tuning.dataset.codes import CODES
from gemini_tuning.dataset.reports.markdown import code_span, codes_table, escaped, report_markdown
from gemini_tuning.dataset.reports.parts import visible
from gemini_tuning.tuning.models import ModelTable

HARMLESS = {"text", "text_special", "entity", "code_inline", "strong_open", "strong_close"}
PARSER = MarkdownIt("commonmark", {"html": True}).enable("table").enable("strikethrough")


def tables(markdown):
    """Return the tables of a document, as rows of cells of shown text."""
    found = []
    for token in PARSER.parse(markdown):
        if token.type == "table_open":
            found.append([])
        elif token.type == "tr_open":
            found[-1].append([])
        elif token.type == "inline" and token.level > 2:
            found[-1][-1].append("".join(child.content for child in token.children))
    return found


def test_it_holds_verdict_files_faults_and_figures():
    markdown = report_markdown(report(finding(column=2), finding("last-turn", 9), finding(line=8)))
    assert markdown.startswith("**Dataset rejected: train.jsonl (5 examples); 3 errors, 0 warnings**\n")
    files, codes, faults, figures = tables(markdown)
    assert files[1] == ["train.jsonl", "5", "1.2 MB"]
    assert codes[1] == ["unknown-field", "error", "2", CODES["unknown-field"].meaning]
    assert [row[0] for row in faults] == ["Where", "train.jsonl:3:2", "train.jsonl:8", "train.jsonl:9"]
    assert faults[1][1:] == ["unknown field 'txt' at contents[0]", "Did you mean 'text'?", "unknown-field"]
    assert figures[1] == ["turns", "2", "3.2", "2", "6", "6"]
    assert "Estimated cost: about 1,000 tokens" in markdown


def test_with_a_base_model_it_shows_its_limits():
    models = ModelTable.load()
    markdown = report_markdown(report(), base_model="gemini-2.5-flash", models=models)
    limits = models.models["gemini-2.5-flash"].limits
    assert ["training examples", f"5 of {limits.training_examples:,}"] in tables(markdown)[-1]
    assert report_markdown(report(), base_model="gemini-9", models=models) == report_markdown(report())


def test_its_size_is_bounded_and_the_rest_is_counted():
    long = "<|`" * 5000
    errors = [
        finding(f"code-{code}", line, message=long, hint=long, path=long, file=long)
        for code in range(50)
        for line in range(20)
    ]
    markdown = report_markdown(report(*errors, uncounted=1000))
    assert len(markdown) < 200_000
    assert f"{50 * 1020 - 50:,} findings more, counted above, not listed here." in markdown


def assert_harmless(text):
    markdown = report_markdown(hostile_report(text))
    tokens = PARSER.parse(markdown)
    assert [token.type for token in tokens] == [
        token.type for token in PARSER.parse(report_markdown(hostile_report("x")))
    ]
    kinds = {child.type for token in tokens for child in token.children or ()}
    assert kinds <= HARMLESS
    if text.strip():
        cells = [cell for table in tables(markdown) for row in table for cell in row]
        assert any(visible(text) in cell for cell in cells)


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_names_and_keys_are_shown_as_they_are(text):
    assert_harmless(text)


@settings(derandomize=True, max_examples=150, database=None, deadline=None)
@given(st.text(alphabet="|`\\*_[]()<>&!#~ ab:/.\n", max_size=30) | st.text(max_size=30))
def test_any_text_is(text):
    assert_harmless(text)


@pytest.mark.parametrize("address", ["http://evil.example", "www.evil.example", "WWW.evil.example", "me@evil.example"])
def test_addresses_are_not_left_to_be_made_links(address):
    assert address not in escaped(address)
    assert PARSER.renderInline(escaped(address)) == address


def test_ordinary_words_stay_readable_in_a_log():
    assert escaped("unknown field 'my_field' (50 %), $0.02.") == "unknown field 'my_field' (50 %), $0.02."
    assert code_span("contents[0].parts[1]") == "`contents[0].parts[1]`"


def test_the_table_of_codes_has_every_code():
    ((heading, *rows),) = tables(codes_table())
    assert heading == ["code", "severity", "means", "what to do"]
    assert [row[0] for row in rows] == list(CODES)
    assert [row[3] for row in rows] == [row.remedy for row in CODES.values()]
