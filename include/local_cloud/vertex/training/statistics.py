"""``tuningDataStats``: what a job reports about its training data, in the form of real jobs.

Sums are those of one epoch, without padding. The number of examples is that of the dataset; everything else leaves
out the examples that were dropped, which are neither learned from nor billed. One pass over the examples is enough:
a token count is all that is kept of each.
"""

from __future__ import annotations

import json
from array import array
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from local_cloud.vertex.training.rows import Method

    CountTokens = Callable[[list[dict[str, Any]], dict[str, Any] | None], int]

_SHOWN_EXAMPLES = 3
_SHOWN_TURNS = 20
_SHOWN_CHARACTERS = 400
_SHOWN_PARTS = ("fileData", "functionCall", "functionResponse")
_BUCKETS = 6
NAMED_DROPPED = 10


@dataclass(frozen=True)
class Measured:
    """What an example counts for.

    Attributes:
        input_tokens: of the system instruction and all turns that are not the model's.
        output_tokens: of the model's turns, or of both completions.
        billable_tokens: of both; preference tuning reads the prompt once for each completion.
        length: tokens that the limit per example is about.
        images: image parts.
    """

    input_tokens: int
    output_tokens: int
    billable_tokens: int
    length: int
    images: int


def measure(row: dict[str, Any], method: Method, count_tokens: CountTokens) -> Measured:
    """Measure a dataset row; ``count_tokens`` counts those of contents and a system instruction."""
    turns = row["contents"]
    if method == "preference":
        completions = _completions(row)
        asked = count_tokens(turns, row.get("systemInstruction"))
        outputs = [count_tokens([completion], None) for completion in completions]
        images = _images([*turns, *completions])
        return Measured(asked, sum(outputs), 2 * asked + sum(outputs), asked + max(outputs), images)
    model = [turn for turn in turns if _is_model(turn)]
    asked = count_tokens([turn for turn in turns if not _is_model(turn)], row.get("systemInstruction"))
    answered = count_tokens(model, None)
    return Measured(asked, answered, asked + answered, asked + answered, _images(turns))


class DataStatistics:
    """Statistics in the making."""

    def __init__(self, method: Method) -> None:
        self._method = method
        self._inputs, self._outputs, self._turns = array("q"), array("q"), array("q")
        self._billable = self._characters = self.dropped = 0
        self._shown: list[dict[str, Any]] = []
        self._dropped_indices: list[int] = []
        self._dropped_reasons: list[str] = []

    @property
    def examples(self) -> int:
        """Number of examples, dropped ones included."""
        return len(self._inputs) + self.dropped

    @property
    def first_reason(self) -> str:
        """Which example was dropped first, and why."""
        return f"example {self._dropped_indices[0]}: {self._dropped_reasons[0]}"

    def add(self, row: dict[str, Any], measured: Measured) -> None:
        """Count an example."""
        if len(self._inputs) < _SHOWN_EXAMPLES:
            self._shown.append(row)
        self._inputs.append(measured.input_tokens)
        self._outputs.append(measured.output_tokens)
        self._turns.append(len(row["contents"]))
        self._billable += measured.billable_tokens
        self._characters += sum(len(text) for content in _contents(row) for text in _texts(content))

    def drop(self, reason: str) -> None:
        """Count an example that is left out."""
        if self.dropped < NAMED_DROPPED:
            self._dropped_indices.append(self.examples + 1)
            self._dropped_reasons.append(reason)
        self.dropped += 1

    def document(self) -> dict[str, Any]:
        """Return the canonical SupervisedTuningDataStats or PreferenceOptimizationDataStats; one example is needed."""
        supervised = self._method == "supervised"
        spread = distribution if supervised else _plain_distribution
        document = {
            "tuningDatasetExampleCount": self.examples,
            "totalBillableTokenCount": self._billable,
            "userInputTokenDistribution": spread(self._inputs),
            "userOutputTokenDistribution": spread(self._outputs),
        }
        if supervised:
            document |= {
                "totalTuningCharacterCount": self._characters,
                "userMessagePerExampleDistribution": distribution(self._turns),
                "userDatasetExamples": [turn for row in self._shown for turn in _shown_turns(row["contents"])],
            }
        else:
            document["userDatasetExamples"] = [_shown_preference(row) for row in self._shown]
        if self.dropped:
            name = "truncatedExampleIndices" if supervised else "droppedExampleIndices"
            document |= {name: self._dropped_indices, "droppedExampleReasons": self._dropped_reasons}
            if supervised:
                document["totalTruncatedExampleCount"] = self.dropped
        return document


def distribution(values: Sequence[int]) -> dict[str, Any]:
    """Return the canonical SupervisedTuningDatasetDistribution of ``values``, which must not be empty."""
    return {"billableSum": sum(values), **_plain_distribution(values)}


def _plain_distribution(values: Sequence[int]) -> dict[str, Any]:
    """Return the canonical DatasetDistribution, which is the same without the sum of billable values."""
    numbers = np.asarray(values, np.int64)
    low, median, high = np.percentile(numbers, (5, 50, 95)).tolist()
    return {
        "sum": int(numbers.sum()),
        "min": int(numbers.min()),
        "max": int(numbers.max()),
        "mean": int(numbers.sum()) / len(numbers),
        "median": median,
        "p5": low,
        "p95": high,
        "buckets": list(_buckets(numbers)),
    }


def _buckets(numbers: np.typing.NDArray[np.int64]) -> Iterable[dict[str, int]]:
    """Six buckets of equal whole width from the least to the greatest value; empty ones are left out."""
    least = int(numbers.min())
    width = -(-(int(numbers.max()) - least + 1) // _BUCKETS)
    for place, count in enumerate(np.bincount((numbers - least) // width).tolist()):
        if count:
            left = least + place * width
            yield {"count": count, "left": left, "right": left + width - 1}


def _is_model(turn: dict[str, Any]) -> bool:
    return str(turn.get("role")).lower() == "model"


def _completions(row: dict[str, Any]) -> list[dict[str, Any]]:
    return [item["completion"] for item in row.get("completions", [])]


def _contents(row: dict[str, Any]) -> list[dict[str, Any]]:
    return [*row["contents"], *_completions(row), row.get("systemInstruction") or {}]


def _texts(content: dict[str, Any]) -> Iterator[str]:
    return (part["text"] for part in content.get("parts", []) if isinstance(part.get("text"), str))


def _images(contents: Iterable[dict[str, Any]]) -> int:
    return sum(_mime_type(part).startswith("image/") for content in contents for part in content.get("parts", []))


def _mime_type(part: dict[str, Any]) -> str:
    for name in ("fileData", "file_data", "inlineData", "inline_data"):
        data = part.get(name)
        if isinstance(data, dict):
            return str(data.get("mimeType") or data.get("mime_type"))
    return ""


def _shown_preference(row: dict[str, Any]) -> dict[str, Any]:
    completions = [{**item, "completion": _shown(item["completion"])} for item in row["completions"]]
    return {"contents": _shown_turns(row["contents"]), "completions": completions}


def _shown_turns(contents: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [_shown(turn) for turn in contents[:_SHOWN_TURNS]]


def _shown(content: dict[str, Any]) -> dict[str, Any]:
    """A turn cut to what a job, and every list of jobs, can carry."""
    parts = [shown for part in content["parts"] if (shown := _shown_part(part))]
    return {"role": content["role"], "parts": parts} if content.get("role") else {"parts": parts}


def _shown_part(part: dict[str, Any]) -> dict[str, Any]:
    if "text" in part:
        text = part["text"]
        return {"text": text[:_SHOWN_CHARACTERS] + "..." if len(text) > _SHOWN_CHARACTERS else text}
    shown = {name: part[name] for name in _SHOWN_PARTS if name in part}
    return shown if len(json.dumps(shown)) <= 2 * _SHOWN_CHARACTERS else {}
