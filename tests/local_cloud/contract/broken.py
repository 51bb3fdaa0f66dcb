"""Servers that break a contract: the check of the checks. Each names a contract that must notice it."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode

from tests.local_cloud.contract.proxy import Honest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.local_cloud.contract.proxy import Exchange

    Document = dict[str, Any]

_JOBS = re.compile(r"/v1(beta1)?/projects/[^/]+/locations/[^/]+/tuningJobs(/\d+)?")
_CREATE = re.compile(r"/v1(beta1)?/projects/[^/]+/locations/[^/]+/tuningJobs")
_PROMPT = re.compile(r".+:(streamG|g)enerateContent")


class Forgets(Honest):
    """Drops a field of what a client sends to a path."""

    def __init__(self, *field: str, path: re.Pattern[str] = _CREATE) -> None:
        self._field = field
        self._path = path

    def spoil_request(self, exchange: Exchange) -> None:
        """See Honest."""
        if exchange.method == "POST" and self._path.fullmatch(exchange.path):
            document = exchange.request
            holder = document
            for name in self._field[:-1]:
                holder = holder.get(name, {})
            holder.pop(self._field[-1], None)
            exchange.sent = json.dumps(document).encode()


class Ignores(Honest):
    """Drops a query parameter."""

    def __init__(self, parameter: str) -> None:
        self._parameter = parameter

    def spoil_request(self, exchange: Exchange) -> None:
        """See Honest."""
        exchange.query = urlencode([pair for pair in parse_qsl(exchange.query) if pair[0] != self._parameter])


class Answers(Honest):
    """Changes each document that is answered from a path; errors only when told to."""

    def __init__(
        self, change: Callable[[Document], Any], path: re.Pattern[str] = _JOBS, *, errors: bool = False
    ) -> None:
        self._change = change
        self._path = path
        self._errors = errors

    def spoil_answer(self, exchange: Exchange) -> None:
        """See Honest."""
        if not self._path.fullmatch(exchange.path) or (exchange.status != 200) is not self._errors:
            return
        changed = [self._change(document) for document in exchange.answers]
        if exchange.content_type.startswith("text/event-stream"):
            exchange.answered = b"".join(b"data: %s\r\n\r\n" % json.dumps(item).encode() for item in changed)
        else:
            exchange.answered = json.dumps(changed[0]).encode()


class Constant(Honest):
    """Answers the first job it sees to every question about jobs."""

    def __init__(self) -> None:
        self._job: bytes | None = None

    def spoil_answer(self, exchange: Exchange) -> None:
        """See Honest."""
        if exchange.status == 200 and _JOBS.fullmatch(exchange.path) and "tuningJobs" not in exchange.answer:
            self._job = self._job or exchange.answered
            exchange.answered = self._job


class NeverCancels(Honest):
    """Says yes to a cancellation and does nothing."""

    def spoil_request(self, exchange: Exchange) -> None:
        """See Honest."""
        if exchange.path.endswith(":cancel"):
            exchange.method, exchange.path = "GET", "/_local/health"

    def spoil_answer(self, exchange: Exchange) -> None:
        """See Honest."""
        if exchange.path.endswith(":cancel"):
            exchange.answered = b"{}"


class StreamsWhole(Honest):
    """Answers a stream as plain JSON."""

    def spoil_answer(self, exchange: Exchange) -> None:
        """See Honest."""
        if exchange.content_type.startswith("text/event-stream"):
            exchange.answered, exchange.content_type = json.dumps(exchange.answers).encode(), "application/json"


def _in_jobs(change: Callable[[Document], Any]) -> Callable[[Document], Document]:
    """Apply a change to a job, or to each job of a list."""

    def changed(document: Document) -> Document:
        for job in document.get("tuningJobs", [document]):
            if job:
                change(job)
        return document

    return changed


def _setting(name: str, value: Any) -> Callable[[Document], Document]:
    return lambda document: {**document, name: value}


def _without(name: str) -> Callable[[Document], Document]:
    return lambda document: {key: value for key, value in document.items() if key != name}


def _replacing(pattern: str, text: str) -> Callable[[Document], Document]:
    def changed(document: Document) -> Document:
        result: Document = json.loads(re.sub(pattern, text, json.dumps(document)))
        return result

    return changed


def _shuffled(document: Document) -> Document:
    return {**document, "tuningJobs": document["tuningJobs"][::-1]} if "tuningJobs" in document else document


def _halved(document: Document) -> Document:
    for series in document.get("timeSeriesData", []):
        series["values"] = series["values"][::2]
    return document


_LIFE = "genai_life_of_a_job-v1beta1"
_GAPIC = "gapic_life_of_a_job-v1"
_LISTS = "genai_lists-v1"
_SPEC = "supervisedTuningSpec"
_SERIES = re.compile(r".+:batchRead")
_MODEL = re.compile(r".+/models/[^/:]+")
_EVERYTHING = re.compile(r".+")

BROKEN: dict[str, tuple[Honest, str]] = {
    # What was sent does not arrive.
    "forgets labels": (Forgets("labels"), _LIFE),
    "forgets the description": (Forgets("description"), _LIFE),
    "forgets the display name": (Forgets("tunedModelDisplayName"), _LIFE),
    "forgets the encryption": (Forgets("encryptionSpec"), _LIFE),
    "forgets the service account": (Forgets("serviceAccount"), _GAPIC),
    "forgets hyperparameters": (Forgets(_SPEC, "hyperParameters"), _LIFE),
    "forgets the epochs": (Forgets(_SPEC, "hyperParameters", "epochCount"), _LIFE),
    "forgets the learning rate": (Forgets(_SPEC, "hyperParameters", "learningRateMultiplier"), _LIFE),
    "forgets the adapter size": (Forgets(_SPEC, "hyperParameters", "adapterSize"), _LIFE),
    "forgets the validation data": (Forgets(_SPEC, "validationDatasetUri"), _LIFE),
    "forgets checkpoints": (Forgets(_SPEC, "exportLastCheckpointOnly"), _LIFE),
    "forgets the evaluation": (Forgets(_SPEC, "evaluationConfig"), _LIFE),
    "forgets the metrics": (Forgets(_SPEC, "evaluationConfig", "metrics"), _GAPIC),
    "forgets the judge": (Forgets(_SPEC, "evaluationConfig", "autoraterConfig"), _GAPIC),
    "forgets the earlier checkpoint": (Forgets("preTunedModel", "checkpoint_id"), "genai_continuous_tuning-v1"),
    "forgets beta": (
        Forgets("preferenceOptimizationSpec", "hyperParameters", "beta"),
        "genai_preference_tuning-v1beta1",
    ),
    "forgets generation settings": (Forgets("generationConfig", path=_PROMPT), "genai_generation_settings-v1"),
    "forgets the system instruction": (Forgets("systemInstruction", path=_PROMPT), "genai_generation_settings-v1"),
    "ignores the filter": (Ignores("filter"), _LISTS),
    "ignores the page size": (Ignores("pageSize"), _LISTS),
    "ignores the page token": (Ignores("pageToken"), "gapic_lists-v1"),
    "ignores the encoding of enums": (Ignores("$alt"), "rest_enum_encoding"),
    "never cancels": (NeverCancels(), _LIFE),
    # What is answered is not what happened.
    "answers the same job always": (Constant(), _LISTS),
    "has other lists than jobs": (Answers(_shuffled), _LISTS),
    "loses the next page": (Answers(_without("nextPageToken")), _LISTS),
    "ends every job": (Answers(_in_jobs(lambda job: job.update(state="JOB_STATE_SUCCEEDED"))), _LIFE),
    "forgets the experiment": (Answers(_in_jobs(lambda job: job.pop("experiment", None))), "genai_finished_job-v1"),
    "counts the data wrong": (Answers(_replacing(r'(xampleCount": )"8"', r'\1"9"')), "genai_finished_job-v1"),
    "has one checkpoint": (
        Answers(_in_jobs(lambda job: job.get("tunedModel", {}).pop("checkpoints", None))),
        "gapic_finished_job-v1",
    ),
    "names no model": (Answers(_without("name"), _MODEL), "genai_models-v1"),
    "has another default": (Answers(_setting("defaultCheckpointId", "7"), _MODEL), "genai_default_checkpoint-v1"),
    "measures half of the steps": (Answers(_halved, _SERIES), "tensorboard_run"),
    "counts no tokens": (Answers(_without("usageMetadata"), _PROMPT), "genai_prompts-v1"),
    "never says why it stopped": (Answers(_replacing('"finishReason": "[A-Z_]+", ', ""), _PROMPT), "genai_prompts-v1"),
    "says one thing always": (
        Answers(_replacing(r'"text": "[^"]*"', '"text": "Yes."'), _PROMPT),
        "genai_generation_settings-v1",
    ),
    "streams no events": (StreamsWhole(), "genai_streams-v1"),
    # The answer is not written as Google writes it.
    "adds an unknown field": (Answers(_setting("progress", 7)), _LIFE),
    "answers int64 as a number": (Answers(_replacing(r'(epochCount": )"(\d+)"', r"\1\2")), _LIFE),
    "answers enum numbers": (Answers(_replacing('"JOB_STATE_SUCCEEDED"', "4")), "genai_finished_job-v1"),
    "answers enum numbers as strings": (Answers(_replacing(r'(adapterSize": )(\d)', r'\1"\2"')), _GAPIC),
    "answers proto names": (Answers(_replacing("tunedModelDisplayName", "tuned_model_display_name")), _LIFE),
    "answers times with an offset": (Answers(_replacing(r'(\d)Z"', r'\1+00:00"')), _LIFE),
    "answers unfinished times": (Answers(_replacing(r'\.\d{6}Z"', '.12345Z"')), _LIFE),
    "answers project ids": (Answers(_replacing(r"projects/\d+/", "projects/local-dev/")), _GAPIC),
    "answers bare errors": (Answers(lambda document: document["error"], _EVERYTHING, errors=True), "genai_errors-v1"),
    "answers errors with another status": (
        Answers(_replacing('"NOT_FOUND"', '"UNKNOWN"'), _EVERYTHING, errors=True),
        "genai_errors-v1",
    ),
    "answers errors with a text for a code": (
        Answers(_replacing(r'"code": (\d+)', r'"code": "\1"'), _EVERYTHING, errors=True),
        "gapic_errors-v1",
    ),
}
