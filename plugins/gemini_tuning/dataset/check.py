"""Check a training file and its validation file, and estimate what tuning on them costs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from gzip import GzipFile
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from gemini_tuning.dataset.codes import severities
from gemini_tuning.dataset.comparing.second_reading import analyse, scanner_of
from gemini_tuning.dataset.cost import estimate, estimated_tokens, left_out, over_budget
from gemini_tuning.dataset.counting import Count, connected, count_tokens, without_length
from gemini_tuning.dataset.limits import check_limits, rules_of
from gemini_tuning.dataset.options import USUAL, Checks
from gemini_tuning.dataset.reading import sniffing
from gemini_tuning.dataset.reading.files import FileScan, read
from gemini_tuning.dataset.reading.progress import Progress, Report
from gemini_tuning.dataset.reading.ranges import UNPACKING_ERRORS
from gemini_tuning.dataset.reading.scanning import bounded_line
from gemini_tuning.dataset.reading.source import open_source
from gemini_tuning.dataset.reports.quarantine import RejectedLine
from gemini_tuning.dataset.reports.rejections import Rejections
from gemini_tuning.dataset.reports.report import (
    Counts,
    DatasetReport,
    Distribution,
    Estimate,
    Finding,
    Findings,
    Statistics,
)
from gemini_tuning.errors import UnusableInputError
from gemini_tuning.tuning.models import ModelTable

if TYPE_CHECKING:
    from google.cloud.storage import Client

_LINES_BETWEEN_REPORTS = 10_000


def check_dataset(
    train: str,
    validation: str | None,
    *,
    base_model: str,
    epochs: int | None,
    models: ModelTable,
    root: Path | None,
    storage: Callable[[], Client],
    counter: Callable[[], Count] | None = None,
    checks: Checks = USUAL,
    budget_usd: float | None = None,
    smoke_prompts: Sequence[str] = (),
    rejected: Callable[[Iterator[RejectedLine]], None] | None = None,
    progress: Report | None = None,
    processes: int | None = None,
) -> DatasetReport:
    """Read both files and return the verdict; lines that have to be compared are read again.

    :param train: local path or ``gs://`` URI; likewise ``validation``, which may be None.
    :param epochs: the planned number, or None to estimate with the table's assumed number.
    :param root: the folder local files must lie in; None = anywhere.
    :param storage: makes a Cloud Storage client; called for ``gs://`` only.
    :param counter: makes what counts the tokens of an example exactly; called only where ``checks`` ask for it.
    :param checks: what is looked for, and how severe it is.
    :param budget_usd: a job estimated to cost more is an error; None = no limit.
    :param smoke_prompts: what the tuned model will be asked, for training must not contain it.
    :param rejected: is given every rejected line of both files with its faults, which are read once more for it.
    :param progress: is told how far the reading is, now and then.
    :param processes: how many others take part, 0 = none; None = by the size of each file.
    :raises UnusableInputError: when a file can't be read at all.
    :raises ConfigError: when ``checks`` can't be done.
    :raises ServiceRefusedError: when Vertex AI won't count.
    :raises TransientError: when Cloud Storage or Vertex AI can't be reached.
    """
    count = connected(counter) if checks.exact_tokens else None
    scanner = scanner_of(checks.private_data)
    chosen = severities(checks.severities)
    if scanner is not None and checks.private_data is not None:
        chosen |= scanner.severities(block=checks.private_data.found == "block") | checks.severities
    rules = rules_of(base_model, models, chosen)
    line_rules = rules if count is None else without_length(rules)
    rejections = Rejections(line_rules) if rejected is not None else None
    findings = Findings(chosen, rejections.add if rejections else None)
    scans = []
    for reference in (train, validation) if validation else (train,):
        with open_source(reference, root=root, storage=storage) as source:
            scans.append(read(source, line_rules, findings, processes=processes, progress=progress))
    info = models.find(base_model)

    @contextmanager
    def reopened(scan: FileScan) -> Iterator[BinaryIO]:
        with open_source(scan.reference, root=root, storage=storage) as source:
            identity = (scan.file.bytes, scan.modified, scan.file.generation)
            if (source.size, source.modified, source.generation) != identity:
                raise UnusableInputError(f"{scan.reference}: changed while it was checked; check it again.")
            packed = source.stream.peek(2).startswith(sniffing.GZIP)
            yield cast("BinaryIO", GzipFile(fileobj=source.stream) if packed else source.stream)

    @contextmanager
    def lines(scan: FileScan) -> Iterator[Iterator[bytes]]:
        with reopened(scan) as stream:
            yield _lines(stream, scan, progress)

    notes = analyse(_different(scans, findings), checks.second_reading, scanner, smoke_prompts, findings, lines)
    if count is None:
        tokens = estimated_tokens(scans[0])
    else:
        tokens, counted = count_tokens(scans, rules, count, findings, lines)
        notes += counted
    check_limits(info, scans, findings)
    estimated = estimate(tokens, epochs, info, models)
    notes += left_out(estimated, budget_usd)
    if budget_usd is not None and (fault := over_budget(estimated, budget_usd)) is not None:
        findings.add(Finding(file=scans[0].reference, **fault._asdict()))
    if rejected is not None and rejections is not None:
        rejected(_rejected(scans, rejections, reopened))
    return _report(scans, findings, estimated, notes)


def _different(scans: Sequence[FileScan], findings: Findings) -> Sequence[FileScan]:
    """Return what there is to compare: a copy of the training file is told once, and not on every line."""
    if len(scans) < 2 or scans[0].file.sha256 != scans[1].file.sha256 or not scans[1].file.examples:
        return scans
    message, hint = "the file is the training file, byte for byte", "Validate on examples that are not trained on."
    findings.add(Finding(code="validation-leak", file=scans[1].reference, message=message, hint=hint))
    return scans[:1]


def _lines(stream: BinaryIO, scan: FileScan, progress: Report | None) -> Iterator[bytes]:
    """Yield the lines of a file once more, as far as it can be unpacked."""
    began, count, size = time.monotonic(), 0, 0
    with suppress(*UNPACKING_ERRORS):
        while line := bounded_line(stream)[0]:
            yield line
            count += 1
            size += len(line)
            if progress is not None and count % _LINES_BETWEEN_REPORTS == 0:
                seconds = time.monotonic() - began
                progress(Progress(f"{scan.reference}, again", size, scan.unpacked_bytes, count, seconds))


def _rejected(
    scans: Sequence[FileScan], rejections: Rejections, reopened: Callable[[FileScan], AbstractContextManager[BinaryIO]]
) -> Iterator[RejectedLine]:
    for scan in scans:
        with reopened(scan) as stream:
            yield from rejections.of(scan, stream)


def _report(scans: Sequence[FileScan], findings: Findings, estimated: Estimate, notes: Sequence[str]) -> DatasetReport:
    training = scans[0]
    files = [scan.reference for scan in scans]
    return DatasetReport(
        accepted=findings.total("error") == 0,
        files=tuple(scan.file for scan in scans),
        errors=findings.listed("error", files),
        warnings=findings.listed("warning", files),
        counts=Counts(errors=findings.total("error"), warnings=findings.total("warning"), by_code=findings.by_code),
        truncated=findings.truncated,
        statistics=Statistics(
            turns=Distribution.of(training.turns),
            characters=Distribution.of(training.characters),
            estimated_tokens=Distribution.of(training.tokens),
            roles=dict(training.roles),
        ),
        estimate=estimated,
        notes=tuple(notes),
    )
