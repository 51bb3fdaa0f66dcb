"""A report as one self-contained HTML page: nothing is loaded from anywhere, and without scripts it says the same."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Collection, Iterable
from html import escape
from pathlib import PurePosixPath

from gemini_tuning.dataset.reports.drawings import distribution_drawing, roles_drawing
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
from gemini_tuning.dataset.reports.report import DatasetFile, DatasetReport, Finding, plural
from gemini_tuning.tuning.models import ModelTable

_LONGEST = 300  # characters of one message, hint or path: the page stays small whatever the keys are
_SHORT = 30  # characters of a place that isn't broken into lines

_RIGHT = ' class="n"'
_NOWRAP = ' class="nowrap"'
_TABLE_END = "</table></div>\n"

_STYLE = """
:root{color-scheme:light dark;--page:#f6f7f9;--card:#fff;--ink:#1b2430;--soft:#566273;--line:#d9dee5;--bar:#2f6fd0;
--track:#e7ebf1;--mark:#b45309;--good:#17692f;--goodback:#e3f4e7;--bad:#a8201a;--badback:#fce8e6;--warn:#7a4b00;
--warnback:#fdf1d8}
@media(prefers-color-scheme:dark){:root{--page:#12161c;--card:#1b212a;--ink:#e6eaf0;--soft:#a3afbf;--line:#343d4a;
--bar:#6ea3f2;--track:#2a323d;--mark:#f2b04e;--good:#8bdca0;--goodback:#173322;--bad:#ffada6;--badback:#42201e;
--warn:#f5cd7d;--warnback:#3a2c10}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);font:15px/1.5 system-ui,sans-serif}
main,header,footer{max-width:1080px;margin:0 auto;padding:0 20px}
header{padding-top:28px}
h1{font-size:26px;line-height:1.3;margin:0 0 4px}
h1 .tag{font-size:inherit;padding:0 12px;border-radius:6px}
h1+p{font-size:16px}
h2{font-size:17px;margin:34px 0 10px}
h3{font-size:14px;margin:0 0 6px}
p{margin:4px 0;max-width:75ch}
.box+p{margin-top:8px}
.soft,footer{color:var(--soft)}
footer{padding-top:28px;padding-bottom:36px;font-size:13px}
.tag{display:inline-block;border-radius:4px;padding:1px 8px;font-weight:600;font-size:13px;white-space:nowrap}
.good{background:var(--goodback);color:var(--good)}
.error{background:var(--badback);color:var(--bad)}
.warning{background:var(--warnback);color:var(--warn)}
.tiles,.charts{display:grid;gap:12px;grid-template-columns:repeat(auto-fit,minmax(150px,1fr))}
.tiles{margin:18px 0 0}
.charts{grid-template-columns:repeat(auto-fit,minmax(min(260px,100%),1fr))}
.tiles>div,.charts>figure,.box{background:var(--card);border:1px solid var(--line);border-radius:8px;margin:0}
.tiles>div{padding:10px 14px}
.tiles dt{color:var(--soft);font-size:13px}
.tiles dd{margin:0;font-size:22px;font-weight:600;overflow-wrap:anywhere}
figure{padding:14px}
svg{display:block;width:100%;max-width:420px;height:auto}
svg text{font:12px system-ui,sans-serif;fill:var(--ink)}
svg .faint{fill:var(--soft)}
svg .end{text-anchor:end}
svg .bar{fill:var(--bar)}
svg .track{fill:var(--track)}
svg .hit{fill:transparent}
svg g:hover .hit{fill:var(--track)}
svg .axis{stroke:var(--soft)}
svg .median{fill:var(--ink)}
svg .mean{fill:var(--mark)}
.box{overflow-x:auto}
table{border-collapse:collapse;width:100%}
th,td{text-align:left;vertical-align:top;padding:7px 12px;border-top:1px solid var(--line)}
thead th{border-top:0;color:var(--soft);font-size:13px;white-space:nowrap}
tbody th{font-weight:400}
.group th{background:var(--page);padding:6px 12px}
.group code{font-weight:600}
.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
code{font:13px/1.45 ui-monospace,monospace;overflow-wrap:anywhere}
.nowrap code{overflow-wrap:normal;white-space:nowrap}
.digest{font:12px ui-monospace,monospace;overflow-wrap:anywhere}
a{color:inherit}
a:focus-visible,select:focus-visible,.box:focus-visible{outline:2px solid var(--bar);outline-offset:2px}
.figures{font-size:13px;margin-top:8px}
.figures th,.figures td{padding:2px 0 2px 6px;border:0;text-align:right}
.figures th{font-weight:400;color:var(--soft)}
label{display:block;margin:0 0 10px}
select{font:inherit;padding:4px 8px;max-width:100%;background:var(--card);color:var(--ink);border:1px solid var(--soft);
border-radius:6px}
[hidden]{display:none}
meter{width:110px;height:14px}
tbody:target{outline:2px solid var(--bar);outline-offset:-2px}
@media(max-width:640px){main,header,footer{padding-left:14px;padding-right:14px}
.stack thead{display:none}.stack tr{display:block;padding:8px 0;border-top:1px solid var(--line)}
.stack tbody:first-of-type tr:first-child{border-top:0}
.stack th,.stack td{display:block;border:0;padding:1px 12px}.stack td.n{text-align:left}
.stack .group{padding:0}.stack .group th{padding:6px 12px}
.stack td[data-label]::before{content:attr(data-label) ": ";color:var(--soft)}}
@media print{body{background:none}label{display:none}}
"""

_SCRIPT = """
const pick=document.getElementById("pick");
if(pick){const bodies=[...document.querySelectorAll("tbody[data-code]")];
const show=code=>{pick.value=code;for(const body of bodies)body.hidden=code!==""&&body.dataset.code!==code};
pick.closest("label").hidden=false;
pick.addEventListener("change",()=>show(pick.value));
for(const link of document.querySelectorAll("a[data-code]"))
link.addEventListener("click",()=>show(link.dataset.code));
show("")}
"""


def report_html(report: DatasetReport, *, base_model: str | None = None, models: ModelTable | None = None) -> str:
    """Return the whole page.

    :param base_model: with ``models``: adds how much of this model's limits the dataset uses.
    """
    found = groups(report)
    script = base64.b64encode(hashlib.sha256(_SCRIPT.encode()).digest()).decode()
    # even if a text slipped through unescaped, a browser would run and load nothing but what stands here
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{script}'; base-uri 'none'"
    return "".join([
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n',
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n',
        '<meta name="viewport" content="width=device-width,initial-scale=1">\n',
        f"<title>{_verdict(report)}: {_text(_file_name(report.train))}</title>\n",
        f"<style>{_STYLE}</style>\n</head>\n<body>\n",
        _header(report),
        "<main>\n",
        *_files(report),
        *_findings(report, found),
        *_notes(report),
        *_statistics(report),
        *_cost(report),
        *_limits(report, base_model, models),
        "</main>\n<footer>Made by gemini-tuning; quotes keys and roles of the dataset, not its texts.</footer>\n",
        f"<script>{_SCRIPT}</script>\n</body>\n</html>\n",
    ])


def _text(text: str, longest: int | None = _LONGEST) -> str:
    return escape(visible(text, longest))


def _code(text: str) -> str:
    return f"<code>{_text(text)}</code>"


def _verdict(report: DatasetReport) -> str:
    return f"Dataset {'accepted' if report.accepted else 'rejected'}"


def _file_name(file: DatasetFile) -> str:
    return PurePosixPath(file.path).name or file.path


def _tag(severity: str) -> str:
    return f'<span class="tag {"error" if severity == "error" else "warning"}">{_text(severity)}</span>'


def _header(report: DatasetReport) -> str:
    kind, word = ("good", "accepted") if report.accepted else ("error", "rejected")
    errors, warnings = plural(report.counts.errors, "error"), plural(report.counts.warnings, "warning")
    todo = f"Ready for tuning, with {warnings}." if report.accepted else f"Not to be tuned on: {errors}, {warnings}."
    cost = report.estimate.cost_usd if report.estimate and report.train.examples else None
    tiles = [
        ("errors", f"{report.counts.errors:,}"),
        ("warnings", f"{report.counts.warnings:,}"),
        ("training examples", f"{report.train.examples:,}"),
        *([("validation examples", f"{report.validation.examples:,}")] if report.validation else []),
        ("estimated cost", "unknown" if cost is None else f"${cost:,.2f}"),
    ]
    shown = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in tiles)
    return (
        f'<header>\n<h1>Dataset <span class="tag {kind}">{word}</span></h1>\n<p class="soft">{todo}</p>\n'
        f'<dl class="tiles">{shown}</dl>\n</header>\n'
    )


def _table(*headings: str, right: Collection[str] = ()) -> str:
    """Open a table; ``right``: the headings of columns of numbers."""
    heads = (f'<th scope="col"{_RIGHT if heading in right else ""}>{heading}</th>' for heading in headings)
    return f'<div class="box"><table class="stack">\n<thead><tr>{"".join(heads)}</tr></thead>\n'


def _files(report: DatasetReport) -> Iterable[str]:
    yield "<h2>Files</h2>\n" + _table("File", "Examples", "Size", right=("Examples", "Size")) + "<tbody>\n"
    for file in report.files:
        digest = f'<span class="soft digest">sha256 {_text(file.sha256)}</span>'
        yield f'<tr><th scope="row">{_code(file.path)}<br>{digest}</th>'
        yield f'<td{_RIGHT} data-label="examples">{file.examples:,}</td>'
        yield f'<td{_RIGHT} data-label="size">{size(file.bytes)}</td></tr>\n'
    yield f"</tbody>{_TABLE_END}"


def _findings(report: DatasetReport, found: list[Group]) -> Iterable[str]:
    yield "<h2>Findings</h2>\n"
    if not found:
        yield "<p>Nothing was found wrong.</p>\n"
        return
    yield from _counts(found)
    yield '<h2>One by one</h2>\n<label hidden>Show <select id="pick">'
    yield f'<option value="">all {sum(group.count for group in found):,}</option>'
    for group in found:
        yield f'<option value="{_text(group.code)}">{_text(group.code)}: {group.count:,}</option>'
    yield "</select></label>\n" + _table("Where", "What", "What to do")
    names = {file.path: _file_name(file) for file in report.files}
    if len(set(names.values())) < len(names):
        names = {}
    for group in found:
        found_of_it = f'<span class="soft">{plural(group.count, group.severity)}</span>'
        yield f'<tbody id="{_text(group.code)}" data-code="{_text(group.code)}">\n'
        yield f'<tr class="group"><th scope="rowgroup" colspan="3">{_code(group.code)} {found_of_it}</th></tr>\n'
        yield from (_finding(finding, names.get(finding.file, finding.file)) for finding in group.listed)
        if group.unlisted:
            yield f'<tr><td colspan="3" class="soft">… and {group.unlisted:,} more, counted but not listed</td></tr>\n'
        yield "</tbody>\n"
    yield _TABLE_END


def _counts(found: list[Group]) -> Iterable[str]:
    yield _table("Code", "Severity", "Found", "Means", right=("Found",)) + "<tbody>\n"
    for group in found:
        code = _text(group.code)
        yield f'<tr><th scope="row" class="nowrap"><a href="#{code}" data-code="{code}">{_code(group.code)}</a></th>'
        yield f'<td>{_tag(group.severity)}</td><td{_RIGHT} data-label="found">{group.count:,}</td>'
        yield f"<td>{_text(group.meaning)}</td></tr>\n"
    yield f"</tbody>{_TABLE_END}"


def _finding(finding: Finding, file: str) -> str:
    place = ":".join(str(part) for part in (file, finding.line, finding.column) if part is not None)
    at = f"<br>{_code(finding.path)}" if finding.path else ""
    whole = _NOWRAP if len(place) <= _SHORT else ""
    return (
        f'<tr><th scope="row"{whole}>{_code(place)}</th><td>{_text(finding.message)}{at}</td>'
        f"<td>{_text(finding.hint)}</td></tr>\n"
    )


def _notes(report: DatasetReport) -> Iterable[str]:
    yield from (f'<p class="soft">{_text(note, None)}</p>\n' for note in report.notes)


def _statistics(report: DatasetReport) -> Iterable[str]:
    found = measures(report)
    roles = report.statistics.roles if report.statistics else {}
    if not found and not roles:
        return
    yield '<h2>Training examples</h2>\n<div class="charts">\n'
    heads = "".join(f'<th scope="col">{figure}</th>' for figure in FIGURES)
    for measure in found:
        cells = "".join(f"<td>{value}</td>" for value in measure.figures())
        yield f'<figure><h3>{measure.name.capitalize()}</h3>{distribution_drawing(measure)}<table class="figures">'
        yield f"<thead><tr>{heads}</tr></thead><tbody><tr>{cells}</tr></tbody></table></figure>\n"
    if roles:
        yield f"<figure><h3>Turns by role</h3>{roles_drawing(roles)}</figure>\n"
    yield "</div>\n"


def _cost(report: DatasetReport) -> Iterable[str]:
    if sentences := estimate_sentences(report):
        yield "<h2>Cost</h2>\n"
        yield from (f"<p>{_text(sentence, None)}</p>\n" for sentence in sentences)


def _limits(report: DatasetReport, base_model: str | None, models: ModelTable | None) -> Iterable[str]:
    if not base_model or not models or not (uses := limit_uses(report, base_model, models)):
        return
    yield f"<h2>Limits of {_text(base_model)}</h2>\n" + _table("Limit", "Used", "Share") + "<tbody>\n"
    for use in uses:
        share = use.used / use.allowed
        meter = f'<meter min="0" max="1" high="0.9" optimum="0" value="{min(share, 1):.4f}"></meter>'
        shown = "under 0.1%" if 0 < share < 0.001 else f"{share:.1%}"
        yield f'<tr><th scope="row">{use.limit}</th><td>{use.text}</td><td>{meter} {shown}</td></tr>\n'
    yield f'</tbody>{_TABLE_END}<p class="soft">As of {models.as_of}; {_text(models.source)}.</p>\n'
