"""Reports made by hand, for the tests of what is shown of them."""

from gemini_tuning.dataset.reports.report import (
    Counts,
    DatasetFile,
    DatasetReport,
    Distribution,
    Estimate,
    Finding,
    Statistics,
)

HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "\"><svg onload='alert(1)'>",
    "</title></style></script></table><h1>",
    "a|b \\| c\\",
    "`code` ``more`` ```",
    "``",
    " ",
    "*bold* _it_ ~~gone~~ [text](http://evil.example) ![x](y) www.evil.example a@b.example",
    "# heading\n\n- list\r\n| cell |",
    "\x1b[2J\x1b]0;owned\x07",
    "\u202egnp.exe\u2066",
    "broken \udc80 surrogate",
    "nul \x00, line \u2028 and \u2029, next \x85",
    "&lt;b&gt; &#60;",
    "$x$ \\(y\\) --> ]]> {{7*7}}",
]


def finding(
    code="unknown-field",
    line=3,
    *,
    file="train.jsonl",
    column=None,
    path="contents[0]",
    message="unknown field 'txt'",
    hint="Did you mean 'text'?",
):
    return Finding(
        code=code,
        file=file,
        line=line,
        column=column,
        path=path,
        message=message,
        hint=hint,
    )


def report(*errors, warnings=(), uncounted=0, files=("train.jsonl",), roles=None, estimate=True):
    """Return a report; ``uncounted``: how many more errors of each code were found than are listed."""
    by_code = {}
    for found in (*errors, *warnings):
        by_code[found.code] = by_code.get(found.code, 0) + 1
    for code in {found.code for found in errors}:
        by_code[code] += uncounted
    numbers = Distribution(min=2, mean=3.2, median=2, p95=6, max=6)
    return DatasetReport(
        accepted=not errors,
        files=tuple(
            DatasetFile(path=path, bytes=1_234_567, examples=5, sha256="ab" * 32, crc32c="AAAAAA==") for path in files
        ),
        errors=errors,
        warnings=tuple(warnings),
        counts=Counts(
            errors=sum(by_code[code] for code in {found.code for found in errors}),
            warnings=len(warnings),
            by_code=by_code,
        ),
        truncated=bool(uncounted),
        statistics=Statistics(
            turns=numbers, characters=numbers, estimated_tokens=numbers, roles=roles or {"user": 8, "model": 8}
        ),
        estimate=Estimate(
            tokens_per_epoch=1000, epochs=4, epochs_assumed=True, cost_usd=0.02, price_as_of=None, price_verified=True
        )
        if estimate
        else None,
    )


def hostile_report(text):
    """Return a report in which everything that a stranger can word is this text."""
    found = finding(file=text, path=text, message=text, hint=text)
    return report(found, warnings=[finding("few-examples", None, file=text, path=None)], files=(text,), roles={text: 2})
