"""The examples that the service left out of the training, as lines of our file with the service's reasons.

The service drops an example that is over a limit (tokens, images) without failing the job, and bills nothing for it
("Prepare supervised fine-tuning data"). It counts examples from 1, without lines of white space, and names a sample.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from gemini_tuning.errors import TuningJobFailedError
from gemini_tuning.tuning.spec import TuningJob
from gemini_tuning.values import Value

LINES_TOLD = 10


class DroppedExample(Value):
    """One example that was left out: its line in our file, from 1, and the service's own words why."""

    line: int
    reason: str | None = None


class Dropped(Value):
    """What was left out of the training: how many of how many, and those that the service names."""

    count: int
    examples: int | None
    named: tuple[DroppedExample, ...] = ()

    @property
    def share(self) -> float:
        """The share of all examples; 1 where the service doesn't say how many there were."""
        return min(1.0, self.count / self.examples) if self.examples else float(self.count > 0)

    def sentence(self, path: str | None = None) -> str:
        """Return how many were left out, and where they are.

        :param path: our file; None = the training data.
        """
        of = f" of {self.examples:,}" if self.examples else ""
        head = f"The service left {self.count:,}{of} training examples out ({self.share:.1%})"
        if not self.named:
            return f"{head} and doesn't say which."
        places = [
            f"{f'{path}:' if path else 'line '}{example.line}{f' ({example.reason})' if example.reason else ''}"
            for example in self.named[:LINES_TOLD]
        ]
        more = self.count - len(places)
        return f"{head}: {'; '.join(places)}{f'; and {more:,} more' if more > 0 else ''}."


def dropped_of(job: TuningJob, blank_lines: Sequence[int] = ()) -> Dropped | None:
    """Return what the service left out, or None when it left out nothing or hasn't looked yet.

    :param blank_lines: the lines of our file, from 1 and ascending, that are no examples; see ``blank_lines_of``.
    """
    count = max(job.dropped_examples or 0, len(job.dropped_indices))
    if not count:
        return None
    reasons = [*job.dropped_reasons, *[None] * len(job.dropped_indices)]
    named = (
        DroppedExample(line=line, reason=reason)
        for line, reason in zip(lines_of(job.dropped_indices, blank_lines), reasons, strict=False)
    )
    ordered = tuple(sorted(named, key=lambda example: example.line))
    return Dropped(count=count, examples=job.training_examples, named=ordered)


def lines_of(indices: Iterable[int], blank_lines: Sequence[int] = ()) -> list[int]:
    """Return the line, from 1, of each example that the service counts from 1."""
    lines = []
    for index in indices:
        line = index
        for blank in blank_lines:
            if blank > line:
                break
            line += 1
        lines.append(line)
    return lines


def blank_lines_of(lines: Iterable[bytes]) -> list[int]:
    """Return the numbers, from 1, of the lines that hold white space only, whichever way they end."""
    return [number for number, line in enumerate(lines, 1) if not line.strip()]


def require_few_dropped(job: TuningJob, most: float | None, path: str | None = None) -> TuningJob:
    """Return the job if no more than a share of its examples was left out.

    :param most: the share, from 0 to 1; None = any.
    :raises TuningJobFailedError: with lines and reasons.
    """
    left_out = dropped_of(job)
    if left_out is None or most is None or left_out.share <= most:
        return job
    raise TuningJobFailedError(
        f"Tuning job {job.name} succeeded on too little of its data. {left_out.sentence(path)} At most {most:.1%} "
        f"may be ('wait.max_dropped_share'): correct or remove these examples, or raise it. The model is there, and "
        f"paid for: {job.console_url}"
    )
