"""Hold the files as a whole to the base model's limits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from gemini_tuning.dataset.codes import Severity
from gemini_tuning.dataset.lines.rules import Rules
from gemini_tuning.dataset.reading.files import FileScan
from gemini_tuning.dataset.reports.report import Finding, Findings, plural
from gemini_tuning.tuning.models import BaseModelInfo, Limits, ModelTable

_SHARE_COUNTS_ABOVE = 1000  # validation examples ("Supervised fine-tuning", limits)


def rules_of(base_model: str, models: ModelTable, severities: dict[str, Severity]) -> Rules:
    """Return what lines are held to for a base model; an unknown one, or a tuned one, sets no limits."""
    info = models.find(base_model)
    limits = info.limits if info else None
    counts = (
        {
            "image": limits.images_per_example,
            "audio": limits.audio_files_per_example,
            "video": limits.videos_per_example,
            "pdf": limits.pdfs_per_example,
        }
        if limits
        else {}
    )
    return Rules(
        severities=severities,
        base_model=base_model,
        modalities=info.modalities if info and info.modalities else None,
        media_types={kind: modality for modality, kinds in models.media_types.items() for kind in kinds},
        files_per_example=counts,
        tokens_per_example=limits.tokens_per_example if limits else None,
    )


def check_limits(info: BaseModelInfo | None, scans: Sequence[FileScan], findings: Findings) -> None:
    """Add what is wrong with the size of the files."""
    if info is not None and info.limits is not None:
        training, *validation = scans
        checks = _Checks(info.limits, findings)
        checks.training(training)
        for scan in scans:
            checks.dropped(scan)
        for scan in validation:
            checks.validation(scan, training)
    _instructions(scans, findings)
    for scan in scans:
        if not scan.file.examples and not findings.total("error"):  # its lines were made harmless by severities
            message, hint = "no line of the file is an example", "Write one example per line."
            findings.add(Finding(code="empty-file", file=scan.reference, message=message, hint=hint))


class _Checks(NamedTuple):
    limits: Limits
    findings: Findings

    def training(self, scan: FileScan) -> None:
        size = max(scan.file.bytes, scan.unpacked_bytes)
        if size > self.limits.training_bytes:
            message = f"{size:,} bytes, the service takes {self.limits.training_bytes:,}"
            self._add(scan, "file-too-large", message, "Train on a part of it.")
        examples, most = scan.file.examples, self.limits.training_examples
        kind = ""
        if scan.with_files and most > self.limits.multimodal_training_examples:
            most, kind = self.limits.multimodal_training_examples, " of a dataset with media"
        if examples > most:
            message = f"{examples:,} examples, the service takes {most:,}{kind}"
            self._add(scan, "too-many-examples", message, "Train on a part of it.")
        if 0 < examples < self.limits.recommended_training_examples:
            recommended = self.limits.recommended_training_examples
            message = f"{plural(examples, 'example')}; Google recommends {recommended} to start with"
            self._add(scan, "few-examples", message, "Collect more before paying for a large run.")

    def dropped(self, scan: FileScan) -> None:
        if scan.dropped > scan.file.examples * self.limits.dropped_share:
            message = (
                f"the service would drop about {scan.dropped:,} of {scan.file.examples:,} examples, "
                f"and fails where it drops over {self.limits.dropped_share:.0%}"
            )
            self._add(scan, "dropped-examples", message, "Shorten, split or remove those over the limits.")

    def validation(self, scan: FileScan, training: FileScan) -> None:
        examples, most = scan.file.examples, self.limits.validation_examples
        if examples > most:
            message = f"{examples:,} examples, the service takes {most:,}"
            self._add(scan, "too-many-examples", message, "Validate on a part of it.")
        share = int(training.file.examples * self.limits.validation_share)
        if examples > max(_SHARE_COUNTS_ABOVE, share):
            message = (
                f"{examples:,} examples, more than {self.limits.validation_share:.0%} of the "
                f"{training.file.examples:,} for training"
            )
            self._add(scan, "large-validation", message, "The service may refuse it: validate on a part of it.")

    def _add(self, scan: FileScan, code: str, message: str, hint: str) -> None:
        self.findings.add(Finding(code=code, file=scan.reference, message=message, hint=hint))


def _instructions(scans: Sequence[FileScan], findings: Findings) -> None:
    """Warn where only some examples have a system instruction: the model learns to do without it by chance."""
    uses = {scan.instructed > 0 for scan in scans if scan.file.examples}
    for scan in scans:
        if 0 < scan.instructed < scan.file.examples:
            message = f"{scan.instructed:,} of {scan.file.examples:,} examples have a system instruction"
        elif len(uses) > 1 and scan is not scans[0]:
            message = "training and validation differ in whether examples have a system instruction"
        else:
            continue
        hint = "Give it to all of them or to none, as the model will be asked later."
        findings.add(Finding(code="mixed-system-instructions", file=scan.reference, message=message, hint=hint))
