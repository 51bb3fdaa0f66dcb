"""Throw damaged datasets at the check and the converter: ``python -m tests.fuzz.dataset [SECONDS] [SEED]``, by hand.

Every input is made from a seed of its own. The check must end with a report, the converter with its files or an error
that is meant for people, each within a minute; what is accepted fast must be what the judge accepts; and reading a file
in other pieces and processes must say the same of it. The input that breaks one of these is kept.
"""

from __future__ import annotations

import gzip
import json
import logging
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from unittest import mock

from tests.dataset.lines import DAMAGE, document, mutated_bytes, mutated_document, written
from tests.dataset.test_accept import agree

from gemini_tuning.dataset.check import check_dataset
from gemini_tuning.dataset.convert.files import convert_file
from gemini_tuning.dataset.options import Checks
from gemini_tuning.dataset.reading import ranges
from gemini_tuning.dataset.reports.html import report_html
from gemini_tuning.dataset.reports.markdown import report_markdown
from gemini_tuning.dataset.reports.quarantine import write_quarantine
from gemini_tuning.dataset.reports.report import DatasetReport
from gemini_tuning.dataset.reports.text import report_text
from gemini_tuning.errors import GeminiTuningError
from gemini_tuning.tuning.models import ModelTable

PATIENCE = 60  # seconds, for one call
LINES_AT_ONCE = 200
MODELS = ModelTable.load()
OTHER_FORMATS = (
    {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]},
    {"messages": [{"role": "user", "content": "a"}, {"role": "model", "content": "b"}]},
    {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://a/b.png"}}]}]},
    {"messages": [{"role": "assistant", "tool_calls": [{"id": "1", "function": {"name": "f", "arguments": "{}"}}]}]},
    {"input_text": "a", "output_text": "b"},
    {"text_input": "a", "output": "b"},
    {"prompt": "a", "chosen": "b", "rejected": "c"},
    {"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]},
)


class TooSlowError(BaseException):
    """A call took longer than ``PATIENCE``; no Exception, or what is tried could take it for an error of its own."""


def too_slow(signal_number: int, frame: FrameType | None) -> None:
    """Interrupt what takes too long."""
    raise TooSlowError(f"longer than {PATIENCE} s")


@contextmanager
def patience() -> Iterator[None]:
    """Allow what happens inside so much time, from now on."""
    signal.setitimer(signal.ITIMER_REAL, PATIENCE, PATIENCE)  # again, should the first be lost in a destructor
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


class NoWarnings(logging.Handler):
    """Fails where a check warns, as of a child process that died: what it did is done again, and nobody would know."""

    def emit(self, record: logging.LogRecord) -> None:
        """Fail."""
        raise AssertionError(record.getMessage())


def line_of(rng: random.Random) -> bytes:
    """Return one line, more or less damaged."""
    seed = rng.randrange(2**32)
    made = rng.choice(OTHER_FORMATS) if rng.random() < 0.15 else document(rng, seed)
    for _ in range(rng.choice((0, 0, 1, 1, 2, 5))):
        made = mutated_document(rng, made)
    line = written(rng, made)
    for _ in range(rng.choice((0, 0, 0, 1, 3))):
        line = mutated_bytes(rng, line) or b"{}"
    if rng.random() < 0.05:
        line = rng.choice([damage for damage, *_ in DAMAGE.values() if damage and len(damage) < 2**16])
    return rng.randbytes(rng.randrange(60)).replace(b"\n", b"") if rng.random() < 0.02 else line


def file_of(rng: random.Random) -> bytes:
    """Return the bytes of a file, lines or not."""
    feed = rng.choice((b"\n", b"\n", b"\n", b"\r\n", b"\r", b"\n\n", b" \n"))
    lines = [line_of(rng) for _ in range(rng.choice((0, 1, 2, 10, 100)))]
    lines += [rng.choice(lines) for _ in range(rng.randrange(3)) if lines]
    data = feed.join(lines) + rng.choice((b"", feed))
    match rng.randrange(12):
        case 0:
            data = b"\xef\xbb\xbf" + data
        case 1:
            data = data.decode("utf-8", "replace").encode(
                rng.choice(("utf-16", "utf-16-le", "utf-32", "latin-1")), "replace"
            )
        case 2:
            data = b"[" + data.replace(b"\n", b",\n") + b"]"
        case 3:
            data = gzip.compress(data, 1, mtime=0)
        case 4:
            data = gzip.compress(data, 1, mtime=0)[: rng.randrange(40, 4000)]
        case 5:
            data = json.dumps(json.loads(written(rng, document(rng, 1))), indent=2).encode() + b"\n" + data
        case 6:
            data = mutated_bytes(rng, data[:5000] or b"x") + data
        case 7:
            data = rng.randbytes(rng.randrange(3000)) + data
        case _:
            pass
    return data


def check_file(rng: random.Random, data: bytes, folder: Path) -> None:
    """Check a file, print its report in every form, put rejected lines aside, convert it."""
    train, validation = folder / "train.jsonl", folder / "validation.jsonl"
    train.write_bytes(data)
    validation.write_bytes(file_of(rng) if rng.random() < 0.3 else data)
    checks = {"second_reading": rng.choice((None, True, False)), "private_data": rng.choice((None, {}))}
    aside = folder / "aside.jsonl"
    model = rng.choice(("gemini-2.5-flash", "gemini-2.5-flash-lite", "gemini-3.1-flash-lite", "another"))
    compared, outcomes = rng.random() < 0.5, []
    for length, processes in ((ranges.RANGE, 0), (rng.choice((50, 500, 5000)), rng.choice((0, 2)))):
        with mock.patch.object(ranges, "RANGE", length), patience():
            report = check_dataset(
                str(train),
                str(validation) if compared else None,
                base_model=model,
                epochs=None,
                models=MODELS,
                root=None,
                storage=None,  # type: ignore[arg-type]
                checks=Checks.from_json(checks),
                smoke_prompts=["Hello?", ""],
                rejected=lambda lines: write_quarantine(aside, lines, force=True) and None,
                processes=processes,
            )
        outcomes.append((report, aside.read_bytes()))
    assert outcomes[0] == outcomes[1], "read in other pieces it is another verdict"
    with patience():
        assert DatasetReport.from_json(json.loads(json.dumps(report.to_json()))) == report
        for shown in (report_text, report_markdown, report_html):
            shown(report).encode()
    try:
        with patience():
            convert_file(
                str(train),
                str(folder / "converted.jsonl"),
                wanted=None,
                keep_weights=rng.random() < 0.5,
                loss_report=str(folder / "losses.jsonl"),
                force=True,
                storage=None,  # type: ignore[arg-type]
            )
    except GeminiTuningError:
        return
    converted = folder / "converted.jsonl"
    if converted.exists():
        for line in converted.read_bytes().removesuffix(b"\n").split(b"\n"):
            json.loads(line)


def attempt(seed: int, folder: Path) -> int:
    """Try the inputs of one seed; return how many bytes they were."""
    rng = random.Random(seed)
    tried = 0
    for _ in range(LINES_AT_ONCE):
        line = line_of(rng)
        if line.strip(b"\r"):
            (folder / "line").write_bytes(line)
            with patience():
                agree(line)
            tried += len(line)
    data = file_of(rng)
    check_file(rng, data, folder)
    return tried + len(data)


def main() -> None:
    """Go on for so many seconds of processor time."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 60.0
    first = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    signal.signal(signal.SIGALRM, too_slow)
    logging.getLogger("gemini_tuning").addHandler(NoWarnings(logging.WARNING))
    tried = 0
    seed = first
    said = time.monotonic()
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        while (used := sum(os.times()[:4])) < seconds:
            try:
                tried += attempt(seed, folder)
            except BaseException:
                kept = Path(f"fuzz-{seed}")
                shutil.copytree(folder, kept, dirs_exist_ok=True)
                sys.stderr.write(f"Seed {seed}: its input is in {kept}/.\n")
                raise
            seed += 1
            if time.monotonic() - said > PATIENCE:
                said = time.monotonic()
                sys.stderr.write(f"{used:,.0f} s: {seed - first:,} seeds, {tried:,} bytes\n")
    sys.stdout.write(
        f"{seconds:,.0f} s of processor time, seeds {first} to {seed - 1}, {tried:,} bytes: nothing broke\n"
    )


if __name__ == "__main__":
    main()
