"""Answers to prompts as documents: whole, in pieces for a stream, blocked, or scripted."""

from __future__ import annotations

import re
import uuid
from typing import TYPE_CHECKING, Any

from local_cloud.vertex.names import now

if TYPE_CHECKING:
    from collections.abc import Iterator

    from local_cloud.vertex.control.script import AnswerScenario
    from local_cloud.vertex.learner import Answer

_WORDS_PER_PIECE = 4
_CATEGORIES = ("HATE_SPEECH", "DANGEROUS_CONTENT", "HARASSMENT", "SEXUALLY_EXPLICIT")
_BLOCKED_CATEGORY = "DANGEROUS_CONTENT"
_WITH_CONTENT = ("STOP", "MAX_TOKENS")


def answered(answers: list[Answer], version: str, scenario: AnswerScenario | None = None) -> dict[str, Any]:
    """Return what the model has to say, with the finish reason that the scenario wants."""
    candidates = []
    for index, answer in enumerate(answers):
        reason = scenario.finish_reason if scenario and scenario.finish_reason else answer.finish_reason
        scripted = scenario is not None and scenario.text is not None
        candidate: dict[str, Any] = {"index": index, "finishReason": reason}
        if scripted or reason in _WITH_CONTENT:
            candidate["content"] = _content(answer.text)
        if not scripted and reason in _WITH_CONTENT:
            candidate["avgLogprobs"] = answer.average_logprob
        if scenario and scenario.finish_message is not None:
            candidate["finishMessage"] = scenario.finish_message
        candidate["safetyRatings"] = _ratings(blocked=reason == "SAFETY")
        candidates.append(candidate)
    output = sum(answer.output_tokens for answer, told in zip(answers, candidates, strict=True) if "content" in told)
    return {"candidates": candidates, **_about(version, answers[0].prompt_tokens, output)}


def blocked(scenario: AnswerScenario, prompt_tokens: int, version: str) -> dict[str, Any]:
    """Return the refusal of a prompt: no candidates, only the reason."""
    feedback: dict[str, Any] = {"blockReason": scenario.block_reason}
    if scenario.block_message is not None:
        feedback["blockReasonMessage"] = scenario.block_message
    feedback["safetyRatings"] = _ratings(blocked=scenario.block_reason == "SAFETY")
    return {"promptFeedback": feedback, **_about(version, prompt_tokens, 0)}


def pieces_of(response: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Cut an answer into the events of a stream.

    The last event of a candidate says why it ended, the last one of all has the token counts.
    """
    if "candidates" not in response:
        yield response
        return
    about = {name: response[name] for name in ("modelVersion", "createTime", "responseId")}
    for candidate in response["candidates"]:
        ending = candidate
        if "content" in candidate:
            *texts, last_text = _cut(candidate["content"]["parts"][0]["text"])
            for text in texts:
                yield {"candidates": [{"index": candidate["index"], "content": _content(text)}], **about}
            ending = {**candidate, "content": _content(last_text)}
        last: dict[str, Any] = {"candidates": [ending], **about}
        if candidate is response["candidates"][-1]:
            last["usageMetadata"] = response["usageMetadata"]
        yield last


def token_details(tokens: int) -> list[dict[str, Any]]:
    """Return a count by modality: all of it is text."""
    return [{"modality": "TEXT", "tokenCount": tokens}]


def _about(version: str, prompt_tokens: int, output_tokens: int) -> dict[str, Any]:
    usage: dict[str, Any] = {
        "promptTokenCount": prompt_tokens,
        "totalTokenCount": prompt_tokens + output_tokens,
        "promptTokensDetails": token_details(prompt_tokens),
    }
    if output_tokens:
        usage["candidatesTokenCount"] = output_tokens
        usage["candidatesTokensDetails"] = token_details(output_tokens)
    return {
        "usageMetadata": usage,
        "modelVersion": version,
        "createTime": now(),
        "responseId": uuid.uuid4().hex,
    }


def _content(text: str) -> dict[str, Any]:
    return {"role": "model", "parts": [{"text": text}]}


def _cut(text: str) -> list[str]:
    words = re.findall(r"\s*\S+\s*$|\s*\S+|\s+$", text)
    return ["".join(words[i : i + _WORDS_PER_PIECE]) for i in range(0, len(words), _WORDS_PER_PIECE)] or [""]


def _ratings(*, blocked: bool) -> list[dict[str, Any]]:
    return [_rating(category, blocked=blocked and category == _BLOCKED_CATEGORY) for category in _CATEGORIES]


def _rating(category: str, *, blocked: bool) -> dict[str, Any]:
    level, score = ("HIGH", 0.9) if blocked else ("NEGLIGIBLE", 0.0)
    rating: dict[str, Any] = {
        "category": f"HARM_CATEGORY_{category}",
        "probability": level,
        "probabilityScore": score,
        "severity": f"HARM_SEVERITY_{level}",
        "severityScore": score,
    }
    return {**rating, "blocked": True} if blocked else rating
