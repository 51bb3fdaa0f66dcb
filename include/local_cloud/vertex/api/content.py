"""Prompting: ``generateContent``, ``streamGenerateContent`` and ``countTokens`` on endpoints and base models.

- A stream has the whole answer before its first event, and then sends it in pieces.
- ``countTokens`` counts tools by their JSON, since prompts with tools are not answered here.
- ``modelVersion`` is the base model's id, also on a tuned endpoint; what Vertex AI says there is not documented.
- ``computeTokens`` is not imitated: the learner's tokens are not Gemini's.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from starlette.responses import Response, StreamingResponse

from local_cloud.vertex.api.http import answer, body_of, enum_numbers, parent_of, regional
from local_cloud.vertex.control.script import AnswerScenario
from local_cloud.vertex.errors import ApiError, failed_precondition, invalid_argument, not_found
from local_cloud.vertex.jobs.request import base_model_of
from local_cloud.vertex.serving.answers import answered, blocked, pieces_of, token_details
from local_cloud.vertex.serving.settings import check_last_turn, contents_of, settings_of
from local_cloud.vertex.training.files import weights_file
from local_cloud.vertex.wire.content import (
    COUNT_TOKENS_REQUEST,
    COUNT_TOKENS_RESPONSE,
    GENERATE_CONTENT_REQUEST,
    GENERATE_CONTENT_RESPONSE,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable
    from pathlib import Path

    from starlette.requests import Request
    from starlette.routing import Route

    from local_cloud.vertex.catalogue import BaseModel, Catalogue
    from local_cloud.vertex.control.rules import Rules
    from local_cloud.vertex.jobs.registry import Registry
    from local_cloud.vertex.jobs.store import Store
    from local_cloud.vertex.learner import Answer, GenerationSettings
    from local_cloud.vertex.serving.weights import Serving
    from local_cloud.vertex.settings import Settings

_CONTEXT_TOKENS = 1_048_576
"""Of every model in the table ("Model pages"); a tuned one takes as many."""


class Target(NamedTuple):
    """What a prompt is addressed to.

    Attributes:
        name: the endpoint or base model, in full.
        weights: the file of its weights; None: the base model's.
        version: the model version to report.
        base: the base model, if it is a known one.
    """

    name: str
    weights: Path | None
    version: str
    base: BaseModel | None


class ContentApi:
    """The prediction service, as far as Gemini goes."""

    def __init__(
        self, store: Store, registry: Registry, settings: Settings, catalogue: Catalogue, serving: Serving, rules: Rules
    ) -> None:
        self._store = store
        self._registry = registry
        self._settings = settings
        self._catalogue = catalogue
        self._serving = serving
        self._rules = rules

    def routes(self) -> list[Route]:
        """Return the routes of all versions."""
        methods = {
            "generateContent": self.generate,
            "streamGenerateContent": self.stream,
            "countTokens": self.count_tokens,
            "computeTokens": self.compute_tokens,
            "predict": self.predict,
            "rawPredict": self.predict,
        }
        models = ("endpoints/{endpoint}", "publishers/{publisher}/models/{model}", "models/{malformed}")
        return [
            route
            for model in models
            for method, handler in methods.items()
            for route in regional("POST", f"{model}:{method}", handler)
        ]

    async def generate(self, request: Request) -> Response:
        """Answer a prompt in one piece."""
        return answer(request, GENERATE_CONTENT_RESPONSE, await self._respond(request))

    async def stream(self, request: Request) -> Response:
        """Answer a prompt in pieces: server-sent events with ``alt=sse``, else one JSON list."""
        numbers = enum_numbers(request)
        response = await self._respond(request)
        pieces = (
            json.dumps(GENERATE_CONTENT_RESPONSE.write(piece, enum_numbers=numbers)) for piece in pieces_of(response)
        )
        if request.query_params.get("alt", request.query_params.get("$alt", "")).startswith("sse"):
            return StreamingResponse(_events(pieces), media_type="text/event-stream")
        return StreamingResponse(_list(pieces), media_type="application/json")

    async def count_tokens(self, request: Request) -> Response:
        """Count a prompt's tokens."""
        self._target(request)
        body = await body_of(request, COUNT_TOKENS_REQUEST)
        if body.get("instances"):
            raise ApiError(501, "The local Vertex AI does not imitate `instances`: give `contents`.")
        contents = contents_of(body)
        if tools := body.get("tools"):
            contents = [*contents, {"parts": [{"text": json.dumps(tools)}]}]
        system = body.get("systemInstruction")
        total = await self._serving.count_tokens(contents, system)
        characters = sum(
            len(re.sub(r"\s", "", part["text"]))
            for content in [*contents, system or {}]
            for part in content.get("parts", [])
        )
        counted = {"totalTokens": total, "totalBillableCharacters": characters}
        return answer(request, COUNT_TOKENS_RESPONSE, {**counted, "promptTokensDetails": token_details(total)})

    async def compute_tokens(self, request: Request) -> Response:
        """Refuse to list tokens."""
        self._target(request)
        raise ApiError(501, "The local Vertex AI does not imitate computeTokens: its tokens are not Gemini's.")

    async def predict(self, request: Request) -> Response:
        """Refuse the older way to prompt, as Gemini does."""
        self._target(request)
        raise failed_precondition("Gemini cannot be accessed through Vertex Predict/RawPredict API.")

    async def _respond(self, request: Request) -> dict[str, Any]:
        target = self._target(request)
        body = await body_of(request, GENERATE_CONTENT_REQUEST)
        contents, system = contents_of(body), body.get("systemInstruction")
        check_last_turn(contents)
        settings = settings_of(body, target.base)
        await self._check_length(contents, system)
        scenario = self._scenario(target, contents[-1])
        if scenario and scenario.block_reason:
            return blocked(scenario, await self._serving.count_tokens(contents, system), target.version)
        answers = await self._answers(target, contents, system, settings, scenario)
        return answered(answers, target.version, scenario)

    async def _check_length(self, contents: list[dict[str, Any]], system: dict[str, Any] | None) -> None:
        characters = sum(
            len(part["text"]) for content in [*contents, system or {}] for part in content.get("parts", [])
        )
        if 2 * characters < _CONTEXT_TOKENS:  # a character makes two tokens at the most
            return
        tokens = await self._serving.count_tokens(contents, system)
        if tokens > _CONTEXT_TOKENS:
            raise invalid_argument(
                f"The input token count ({tokens}) exceeds the maximum number of tokens allowed ({_CONTEXT_TOKENS})."
            )

    async def _answers(
        self,
        target: Target,
        contents: list[dict[str, Any]],
        system: dict[str, Any] | None,
        settings: GenerationSettings,
        scenario: AnswerScenario | None,
    ) -> list[Answer]:
        """Let the model answer; a scripted text takes the place of what it wrote."""
        if scenario is None or scenario.text is None:
            return await self._serving.answers(target.weights, contents, system, settings)
        one_token = replace(settings, max_output_tokens=1)
        tokens = await self._serving.count_tokens([{"parts": [{"text": scenario.text}]}], None)
        return [
            replace(answer, text=scenario.text, finish_reason="STOP", output_tokens=tokens)
            for answer in await self._serving.answers(target.weights, contents, system, one_token)
        ]

    def _scenario(self, target: Target, last: dict[str, Any]) -> AnswerScenario | None:
        prompt = "\n".join(part["text"] for part in last["parts"])
        taken = self._rules.take(
            AnswerScenario, lambda rule: bool(re.search(rule.model, target.name) and re.search(rule.prompt, prompt))
        )
        return taken[1] if taken else None

    def _target(self, request: Request) -> Target:
        names = request.path_params
        if "endpoint" in names:
            return self._endpoint(f"{parent_of(request)}/endpoints/{names['endpoint']}")
        if "malformed" in names:
            name = f"{parent_of(request)}/models/{names['malformed']}"
            raise invalid_argument(f"The Model name {name} is malformed. Prompt the endpoint of a tuned model instead.")
        path = f"{parent_of(request)}/publishers/{names['publisher']}/models/{names['model']}"
        base = self._catalogue.get(names["model"])
        if names["publisher"] != "google" or base is None:
            raise not_found(f"Publisher Model `{path}` was not found or your project does not have access to it.")
        return Target(path, None, base.name, base)

    def _endpoint(self, name: str) -> Target:
        found = self._registry.endpoint(name)
        job = self._store.job(found.job_id) if found else None
        if found is None or job is None:
            raise not_found(f"Endpoint `{name}` not found.")
        base = base_model_of(job.document)
        weights = weights_file(self._settings.job_directory(job.id), found.checkpoint)
        served = None if job.planted and not weights.exists() else weights
        return Target(name, served, base, self._catalogue.base(base))


async def _events(pieces: Iterable[str]) -> AsyncIterator[str]:
    for piece in pieces:
        yield f"data: {piece}\r\n\r\n"


async def _list(pieces: Iterable[str]) -> AsyncIterator[str]:
    before = "["
    for piece in pieces:
        yield before + piece
        before = ",\r\n"
    yield "]"
