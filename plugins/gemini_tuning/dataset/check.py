"""Check a training file and its validation file, and estimate what tuning on them costs."""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from gemini_tuning.dataset import examples
from gemini_tuning.dataset.report import (
    Counts,
    DatasetFile,
    DatasetReport,
    Distribution,
    Estimate,
    Finding,
    Findings,
    Statistics,
)
from gemini_tuning.dataset.source import OpenSource, lines, open_source
from gemini_tuning.tuning.models import BaseModelInfo, ModelTable

if TYPE_CHECKING:
    from google.cloud.storage import Client

CHARACTERS_PER_TOKEN = 4  # Google's rule of thumb for text; good to about a third either way


def check_dataset(
    train: str,
    validation: str | None,
    *,
    base_model: str,
    epochs: int | None,
    models: ModelTable,
    root: Path | None,
    storage: Callable[[], Client],
) -> DatasetReport:
    """Read both files once and return the verdict.

    :param train: local path or ``gs://`` URI; likewise ``validation``, which may be None.
    :param epochs: the planned number, or None to estimate with the table's assumed number.
    :param root: the folder local files must lie in; None = anywhere.
    :param storage: makes a Cloud Storage client; called for ``gs://`` only.
    :raises UnusableInputError: when a file can't be read at all.
    :raises TransientError: when Cloud Storage can't be reached.
    """
    errors, warnings = Findings(), Findings()
    scans = []
    for reference in (train, validation) if validation else (train,):
        with open_source(reference, root=root, storage=storage) as source:
            scans.append(_Scan(source, errors, warnings))
    training = scans[0]
    info = models.find(base_model)
    if len(scans) > 1:
        _compare(training, scans[1])
    if info is not None:
        _check_limits(info, [scan.file for scan in scans], training.tokens, warnings, errors)
    return DatasetReport(
        accepted=errors.total == 0,
        files=tuple(scan.file for scan in scans),
        errors=errors.listed(),
        warnings=warnings.listed(),
        counts=Counts(errors=errors.total, warnings=warnings.total, by_code={**errors.by_code, **warnings.by_code}),
        truncated=errors.truncated or warnings.truncated,
        statistics=training.statistics(),
        estimate=estimate(sum(training.tokens), epochs, info, models),
    )


def estimate(tokens: int, epochs: int | None, info: BaseModelInfo | None, models: ModelTable) -> Estimate:
    """Return tokens × epochs × price, saying which of them were assumed."""
    used = epochs or models.assumed_epochs
    price = info.price if info else None
    return Estimate(
        tokens_per_epoch=tokens,
        epochs=used,
        epochs_assumed=epochs is None,
        cost_usd=round(tokens * used * price.usd_per_million_tokens / 1e6, 4) if price else None,
        price_as_of=price.as_of if price else None,
        price_verified=price.verified if price else None,
    )


class _Scan:
    """One pass over one file: hashes of its bytes, faults of its lines, counts of its examples."""

    def __init__(self, source: OpenSource, errors: Findings, warnings: Findings) -> None:
        self._reference = source.reference
        self._errors = errors
        self._warnings = warnings
        self.prompts: dict[bytes, int] = {}
        self.characters: list[int] = []
        self.tokens: list[int] = []
        self.turns: list[int] = []
        self.roles: Counter[str] = Counter()
        hashed = _HashingLines(source)
        for number, line, cut in hashed:
            self._line(number, line, cut)
        if hashed.bytes == 0:
            self._error(examples.Fault("empty-file", "the file is empty", "Write one example per line."), None)
        self.file = DatasetFile(
            path=source.reference,
            bytes=hashed.bytes,
            examples=len(self.characters),
            sha256=hashed.sha256,
            crc32c=hashed.crc32c,
            generation=source.generation,
        )

    def statistics(self) -> Statistics:
        return Statistics(
            turns=Distribution.of(self.turns),
            characters=Distribution.of(self.characters),
            estimated_tokens=Distribution.of(self.tokens),
            roles=dict(self.roles),
        )

    def warn(self, fault: examples.Fault, line: int) -> None:
        """Count a warning about a line."""
        self._warnings.add(Finding(file=self._reference, line=line, **fault._asdict()))

    def _error(self, fault: examples.Fault, line: int | None) -> None:
        self._errors.add(Finding(file=self._reference, line=line, **fault._asdict()))

    def _line(self, number: int, line: bytes, cut: bool) -> None:
        if cut:
            found = [examples.Fault("line-too-long", "longer than 16 MiB", "One line holds one example.")]
        else:
            document, unreadable = examples.parse(line)
            found = [unreadable] if unreadable else examples.faults(document)
        for fault in found:
            self._error(fault, number)
        if not found:
            self._example(number, examples.example(document))

    def _example(self, number: int, example: examples.Example) -> None:
        self.characters.append(example.characters)
        self.tokens.append(-(-example.characters // CHARACTERS_PER_TOKEN))
        self.turns.append(len(example.roles))
        self.roles.update(example.roles)
        digest = hashlib.blake2b(example.prompt.encode(), digest_size=16).digest()
        first = self.prompts.setdefault(digest, number)
        if first != number:
            fault = examples.Fault(
                "repeated-prompt",
                f"the same prompt as line {first}",
                "Keep one, unless the repetition is meant.",
            )
            self.warn(fault, number)


class _HashingLines:
    """The lines of a source, while sha256 and crc32c of all its bytes add up on the side."""

    def __init__(self, source: OpenSource) -> None:
        from google_crc32c import Checksum

        self._source = source
        self._sha256 = hashlib.sha256()
        self._crc32c = Checksum()
        self.bytes = 0

    def __iter__(self) -> Iterator[tuple[int, bytes, bool]]:
        return lines(self)  # type: ignore[arg-type]  # readline is all that lines() asks for

    def readline(self, size: int) -> bytes:
        line = self._source.stream.readline(size)
        self._sha256.update(line)
        self._crc32c.update(line)
        self.bytes += len(line)
        return line

    @property
    def sha256(self) -> str:
        return self._sha256.hexdigest()

    @property
    def crc32c(self) -> str:
        return base64.b64encode(self._crc32c.digest()).decode()


def _compare(training: _Scan, validation: _Scan) -> None:
    """Warn of validation prompts that training contains: they make the validation loss look better than it is."""
    for digest, line in validation.prompts.items():
        if (twin := training.prompts.get(digest)) is not None:
            fault = examples.Fault(
                "validation-leak",
                f"the same prompt as training line {twin}",
                "Keep it in one of the two files.",
            )
            validation.warn(fault, line)


def _check_limits(
    info: BaseModelInfo, files: list[DatasetFile], tokens: list[int], warnings: Findings, errors: Findings
) -> None:
    limits = info.limits
    if limits is None:
        return
    train = files[0]

    def add(findings: Findings, file: DatasetFile, code: str, message: str, hint: str) -> None:
        findings.add(Finding(code=code, file=file.path, message=message, hint=hint))

    if train.bytes > limits.training_bytes:
        message = f"{train.bytes:,} bytes, the service takes {limits.training_bytes:,}"
        add(errors, train, "file-too-large", message, "Train on a part of it.")
    if train.examples > limits.training_examples:
        message = f"{train.examples:,} examples, the service takes {limits.training_examples:,}"
        add(errors, train, "too-many-examples", message, "Train on a part of it.")
    if 0 < train.examples < limits.recommended_training_examples:
        message = f"{train.examples:,} examples; Google recommends {limits.recommended_training_examples} to start with"
        add(warnings, train, "few-examples", message, "Collect more before paying for a large run.")
    if (too_long := sum(count > limits.tokens_per_example for count in tokens)) > 0:
        message = f"{too_long:,} examples look longer than {limits.tokens_per_example:,} tokens"
        add(warnings, train, "long-examples", message, "The service drops examples over its limit.")
    if len(files) > 1 and files[1].examples > limits.validation_examples:
        message = f"{files[1].examples:,} examples, the service takes {limits.validation_examples:,}"
        add(errors, files[1], "too-many-examples", message, "Validate on a part of it.")
