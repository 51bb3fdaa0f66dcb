"""A report as Markdown with tables (GitHub's flavour), for a task's log and the page somebody approves a run on.

Everything that comes from a dataset or a file name is escaped: it can neither become markup nor break out of its cell.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from gemini_tuning.dataset.codes import CODES, Code
from gemini_tuning.dataset.reports.parts import (
    FIGURES,
    Group,
    estimate_sentences,
    groups,
    limit_uses,
    measures,
    size,
    visible,
)
from gemini_tuning.dataset.reports.report import DatasetReport, Finding, plural
from gemini_tuning.tuning.models import ModelTable

LISTED = 50  # rows of the table of findings: what a person reads on one page
LISTED_PER_CODE = 5
_LONGEST_CELL = 200
# an underscore inside a word is no markup, and is left readable where a log shows the raw text
_SPECIAL = re.compile(r"[\\`*\[\]~&<>|@]|:(?=//)|(?<=www)\.|(?<![^\W_])_|_(?![^\W_])", re.IGNORECASE)
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "|": "&#124;", "@": "&#64;", ":": "&#58;", ".": "&#46;"}


def report_markdown(report: DatasetReport, *, base_model: str | None = None, models: ModelTable | None = None) -> str:
    """Return the report as Markdown of bounded size: what isn't listed is counted.

    :param base_model: with ``models``: adds how much of this model's limits the dataset uses.
    """
    blocks = [
        f"**{escaped(report.headline(), longest=1000)}**",
        _table(
            ("File", "Examples", "Size"),
            [(code_span(file.path), f"{file.examples:,}", size(file.bytes)) for file in report.files],
            right=(1, 2),
        ),
        *_findings(groups(report)),
        *_statistics(report),
        *_limits(report, base_model, models),
        *map(escaped, report.notes),
        *map(escaped, estimate_sentences(report)),
    ]
    return "\n\n".join(blocks) + "\n"


def codes_table(codes: Mapping[str, Code] = CODES) -> str:
    """Return the documented table of codes: what each means and what to do about it."""
    rows = [
        (code_span(code), escaped(row.severity), escaped(row.meaning), escaped(row.remedy))
        for code, row in codes.items()
    ]
    return _table(("code", "severity", "means", "what to do"), rows)


def escaped(text: str, longest: int | None = None) -> str:
    """Return text that Markdown shows as it is, inside a table too, and makes no link of."""
    return _SPECIAL.sub(lambda found: _ENTITIES.get(found[0], f"\\{found[0]}"), visible(text, longest))


def code_span(text: str, longest: int = _LONGEST_CELL) -> str:
    """Return text as a code span that no backtick in it can end; a pipe would end its cell, so it gets none."""
    shown = visible(text, longest)
    if "|" in shown or not shown.strip():
        return escaped(shown) or "(none)"
    fence = "`" * (1 + max(map(len, re.findall("`+", shown)), default=0))
    padding = " " if shown[0] in " `" or shown[-1] in " `" else ""
    return f"{fence}{padding}{shown}{padding}{fence}"


def _findings(found: list[Group]) -> Iterable[str]:
    if not found:
        return
    rows = [(code_span(group.code), group.severity, f"{group.count:,}", escaped(group.meaning)) for group in found]
    yield _table(("Code", "Severity", "Found", "Means"), rows, right=(2,))
    listed = [finding for group in found for finding in group.listed[:LISTED_PER_CODE]][:LISTED]
    yield _table(("Where", "What", "What to do", "Code"), [_row(finding) for finding in listed])
    if unlisted := sum(group.count for group in found) - len(listed):
        yield f"{plural(unlisted, 'finding')} more, counted above, not listed here."


def _row(finding: Finding) -> tuple[str, ...]:
    place = ":".join(str(part) for part in (finding.file, finding.line, finding.column) if part is not None)
    at = f" at {code_span(finding.path)}" if finding.path else ""
    what = escaped(finding.message, _LONGEST_CELL) + at
    return code_span(place), what, escaped(finding.hint, _LONGEST_CELL), code_span(finding.code)


def _statistics(report: DatasetReport) -> Iterable[str]:
    if rows := [[measure.name, *measure.figures()] for measure in measures(report)]:
        yield _table(("Per training example", *FIGURES), rows, right=range(1, 6))


def _limits(report: DatasetReport, base_model: str | None, models: ModelTable | None) -> Iterable[str]:
    if base_model and models and (uses := limit_uses(report, base_model, models)):
        heading = f"Limits of {code_span(base_model)}, {models.as_of}"
        yield _table((heading, "Used"), [(use.limit, use.text) for use in uses], right=(1,))


def _table(heading: Sequence[str], rows: Iterable[Sequence[str]], right: Iterable[int] = ()) -> str:
    right = set(right)
    rule = ["---:" if index in right else "---" for index in range(len(heading))]
    return "\n".join(f"| {' | '.join(row)} |" for row in (heading, rule, *rows))
