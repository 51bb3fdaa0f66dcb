"""The examples that the service left out of the training, as lines of our file with the service's reasons.

The service drops an example that is over a limit (tokens, images) without failing the job, and bills nothing for it
("Prepare supervised fine-tuning data"). It counts examples from 1, without lines of white space, and names a sample.
"""

from __future__ import annotations

from collections.abc import Sequence

from gemini_tuning.dataset.reports.report import DatasetFile
from gemini_tuning.errors import TuningJobFailedError
from gemini_tuning.tuning.spec import TuningJob
from gemini_tuning.values import Value

LINES_TOLD = 10


class DroppedExample(Value):
    """One example that was left out: its number, from 1, its line in our file where that is known, the reason given."""

    example: int
    line: int | None = None
    reason: str | None = None


class Dropped(Value):
    """What was left out of the training: how many of how many, and those that the service names."""

    count: int
    examples: int | None
    path: str | None = None
    named: tuple[DroppedExample, ...] = ()

    @property
    def share(self) -> float:
        """The share of all examples; 1 where the service doesn't say how many there were."""
        return min(1.0, self.count / self.examples) if self.examples else float(self.count > 0)

    def sentence(self) -> str:
        """Return how many were left out, and where they are."""
        of = f" of {self.examples:,}" if self.examples else ""
        head = f"The service left {self.count:,}{of} training examples out ({self.share:.1%})"
        if not self.named:
            return f"{head} and doesn't say which."
        places = [
            f"{self._place(left_out)}{f' ({left_out.reason})' if left_out.reason else ''}"
            for left_out in self.named[:LINES_TOLD]
        ]
        more = self.count - len(places)
        return f"{head}: {'; '.join(places)}{f'; and {more:,} more' if more > 0 else ''}."

    def _place(self, left_out: DroppedExample) -> str:
        return f"example {left_out.example}" if left_out.line is None else f"{self.path}:{left_out.line}"


def dropped_of(job: TuningJob, file: DatasetFile | None = None) -> Dropped | None:
    """Return what the service left out, or None when it left out nothing or hasn't looked yet.

    :param file: the training data as it was checked; None = not known, and so are the lines.
    """
    count = max(job.dropped_examples or 0, len(job.dropped_indices))
    if not count:
        return None
    skipped = file.skipped_lines if file else None
    reasons = [*job.dropped_reasons, *[None] * len(job.dropped_indices)]
    named = [
        DroppedExample(example=index, line=None if skipped is None else line_of(index, skipped), reason=reason)
        for index, reason in zip(job.dropped_indices, reasons, strict=False)
    ]
    named.sort(key=lambda left_out: left_out.example)
    return Dropped(count=count, examples=job.training_examples, path=file.path if file else None, named=tuple(named))


def line_of(example: int, skipped_lines: Sequence[int] = ()) -> int:
    """Return the line, from 1, of the example that the service counts from 1.

    :param skipped_lines: the lines that are no examples, ascending: the service doesn't count them.
    """
    line = example
    for skipped in skipped_lines:
        if skipped > line:
            break
        line += 1
    return line


def require_few_dropped(job: TuningJob, most: float | None, file: DatasetFile | None = None) -> TuningJob:
    """Return the job if no more than a share of its examples was left out.

    :param most: the share, from 0 to 1; None = any.
    :param file: see ``dropped_of``.
    :raises TuningJobFailedError: with lines and reasons.
    """
    left_out = dropped_of(job, file)
    if left_out is None or most is None or left_out.share <= most:
        return job
    raise TuningJobFailedError(
        f"Tuning job {job.name} succeeded on too little of its data. {left_out.sentence()} At most {most:.1%} "
        f"may be ('wait.max_dropped_share'): correct or remove these examples, or raise it. The model is there, and "
        f"paid for: {job.console_url}"
    )
