"""``tuningDataStats``: what a job reports about its training data, in the form of real jobs.

Token sums are those of one epoch, without padding; ``totalBillableTokenCount`` is input plus output.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from typing import Any

_SHOWN_EXAMPLES = 3
_SHOWN_CHARACTERS = 400
_BUCKETS = 6

CountTokens = Callable[[list[dict[str, Any]], dict[str, Any] | None], int]


def system_instruction(example: dict[str, Any]) -> dict[str, Any] | None:
    """Return an example's system instruction, in either spelling."""
    found: dict[str, Any] | None = example.get("systemInstruction") or example.get("system_instruction")
    return found


def data_statistics(examples: Sequence[dict[str, Any]], count_tokens: CountTokens) -> dict[str, Any]:
    """Return the canonical SupervisedTuningDataStats of the training examples.

    Args:
        examples: dataset rows.
        count_tokens: counts the tokens of contents and a system instruction.
    """
    inputs, outputs = [], []
    for example in examples:
        turns = example["contents"]
        model = [turn for turn in turns if turn.get("role") == "model"]
        inputs.append(count_tokens([turn for turn in turns if turn not in model], system_instruction(example)))
        outputs.append(count_tokens(model, None))
    return {
        "tuningDatasetExampleCount": len(examples),
        "totalTuningCharacterCount": sum(_characters(example) for example in examples),
        "totalBillableTokenCount": sum(inputs) + sum(outputs),
        "userInputTokenDistribution": distribution(inputs),
        "userOutputTokenDistribution": distribution(outputs),
        "userMessagePerExampleDistribution": distribution([len(example["contents"]) for example in examples]),
        "userDatasetExamples": [_shown(turn) for example in examples[:_SHOWN_EXAMPLES] for turn in example["contents"]],
    }


def distribution(values: Sequence[int]) -> dict[str, Any]:
    """Return the canonical SupervisedTuningDatasetDistribution of ``values``, which must not be empty."""
    ordered = sorted(values)
    return {
        "sum": sum(values),
        "billableSum": sum(values),
        "min": ordered[0],
        "max": ordered[-1],
        "mean": statistics.fmean(values),
        "median": statistics.median(values),
        "p5": _percentile(ordered, 0.05),
        "p95": _percentile(ordered, 0.95),
        "buckets": list(_buckets(ordered)),
    }


def _percentile(ordered: Sequence[int], share: float) -> float:
    position = share * (len(ordered) - 1)
    low = int(position)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (position - low)


def _buckets(ordered: Sequence[int]) -> Iterable[dict[str, int]]:
    """Six buckets of equal whole width from the least to the greatest value; empty ones are left out."""
    width = -(-(ordered[-1] - ordered[0] + 1) // _BUCKETS)
    for left in range(ordered[0], ordered[-1] + 1, width):
        count = sum(left <= value < left + width for value in ordered)
        if count:
            yield {"count": count, "left": left, "right": left + width - 1}


def _texts(content: dict[str, Any]) -> Iterable[str]:
    return (part["text"] for part in content.get("parts", []) if isinstance(part.get("text"), str))


def _characters(example: dict[str, Any]) -> int:
    contents = [*example["contents"], system_instruction(example) or {}]
    return sum(len(text) for content in contents for text in _texts(content))


def _shown(content: dict[str, Any]) -> dict[str, Any]:
    parts = [
        {**part, "text": part["text"][:_SHOWN_CHARACTERS] + "..."}
        if isinstance(part.get("text"), str) and len(part["text"]) > _SHOWN_CHARACTERS
        else part
        for part in content.get("parts", [])
    ]
    return {**content, "parts": parts}
