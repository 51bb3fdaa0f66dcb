"""Prompting: ``generateContent``, ``streamGenerateContent`` and ``countTokens`` on endpoints and base models."""

from __future__ import annotations

import json
import re
import uuid
from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse, Response

from local_cloud.vertex.content_schema import COUNT_TOKENS_REQUEST, GENERATE_CONTENT_REQUEST
from local_cloud.vertex.errors import invalid_argument, not_found
from local_cloud.vertex.http import body_of, parent_of, regional
from local_cloud.vertex.job_files import weights_file
from local_cloud.vertex.names import now

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from starlette.requests import Request
    from starlette.routing import Route

    from local_cloud.vertex.catalogue import Catalogue
    from local_cloud.vertex.learner import Answer, GenerationSettings
    from local_cloud.vertex.runner import Runner
    from local_cloud.vertex.serving import Serving
    from local_cloud.vertex.store import Store

_RANGES = {
    "temperature": (0, 2),
    "topP": (0, 1),
    "topK": (1, 2**31),
    "maxOutputTokens": (1, 65_536),
    "candidateCount": (1, 8),
}
_OUTPUT_TOKENS = 1_024
_MOST_OUTPUT_TOKENS = 4_096
"""Whatever was asked for: a barely tuned model may never find an end, and each token takes about a millisecond."""
_WORDS_PER_CHUNK = 4
_CATEGORIES = ("HATE_SPEECH", "DANGEROUS_CONTENT", "HARASSMENT", "SEXUALLY_EXPLICIT")


class ContentApi:
    """The prediction service, as far as Gemini goes."""

    def __init__(self, store: Store, runner: Runner, catalogue: Catalogue, serving: Serving) -> None:
        self._store = store
        self._runner = runner
        self._catalogue = catalogue
        self._serving = serving

    def routes(self) -> list[Route]:
        """Return the routes of all versions."""
        methods = {
            "generateContent": self.generate,
            "streamGenerateContent": self.stream,
            "countTokens": self.count_tokens,
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
        return JSONResponse(await self._respond(request))

    async def stream(self, request: Request) -> Response:
        """Answer a prompt in pieces: server-sent events with ``alt=sse``, else one JSON list."""
        pieces = list(_pieces(await self._respond(request)))
        if request.query_params.get("alt", request.query_params.get("$alt", "")).startswith("sse"):
            events = "".join(f"data: {json.dumps(piece)}\r\n\r\n" for piece in pieces)
            return Response(events, media_type="text/event-stream")
        return JSONResponse(pieces)

    async def count_tokens(self, request: Request) -> Response:
        """Count a prompt's tokens."""
        self._weights(request)
        body = await body_of(request, COUNT_TOKENS_REQUEST)
        contents = _contents(body)
        system = body.get("systemInstruction")
        total = await self._serving.count_tokens(contents, system)
        characters = sum(
            len(re.sub(r"\s", "", part.get("text", "")))
            for content in [*contents, system or {}]
            for part in content.get("parts", [])
        )
        return JSONResponse({
            "totalTokens": total,
            "totalBillableCharacters": characters,
            "promptTokensDetails": _details(total),
        })

    async def _respond(self, request: Request) -> dict[str, Any]:
        weights, version = self._weights(request)
        body = await body_of(request, GENERATE_CONTENT_REQUEST)
        contents = _contents(body)
        settings = _settings(body.get("generationConfig", {}))
        answers = await self._serving.answers(weights, contents, body.get("systemInstruction"), settings)
        return _response(answers, version)

    def _weights(self, request: Request) -> tuple[Path | None, str]:
        """Return the weights that the path means (None: the base model's) and the model version to report."""
        names = request.path_params
        if "endpoint" in names:
            endpoint = f"{parent_of(request)}/endpoints/{names['endpoint']}"
            found = self._store.endpoint(endpoint)
            job = self._store.job(found[0]) if found else None
            if found is None or job is None:
                raise not_found(f"Endpoint `{endpoint}` not found.")
            return weights_file(self._runner.directory(job.id), found[1]), job.document["baseModel"]
        if "malformed" in names:
            name = f"{parent_of(request)}/models/{names['malformed']}"
            raise invalid_argument(f"The Model name {name} is malformed. Prompt the endpoint of a tuned model instead.")
        if names["publisher"] != "google" or self._catalogue.get(names["model"]) is None:
            path = f"{parent_of(request)}/publishers/{names['publisher']}/models/{names['model']}"
            raise not_found(f"Publisher Model `{path}` was not found or your project does not have access to it.")
        return None, names["model"]


def _contents(body: dict[str, Any]) -> list[dict[str, Any]]:
    contents: list[dict[str, Any]] = body.get("contents", [])
    if not contents:
        raise invalid_argument("Unable to submit request because at least one contents field is required.")
    result = []
    for content in contents:
        role = content.get("role", "user").lower()  # Google's older samples say USER
        if role not in ("user", "model", "function"):
            raise invalid_argument("Please use a valid role: user, model.")
        if not content.get("parts"):
            raise invalid_argument("Unable to submit request because it must include at least one parts field.")
        result.append({**content, "role": role})
    return result


def _settings(config: dict[str, Any]) -> GenerationSettings:
    """Return the generation settings.

    What is unset has the default of Gemini's model pages, but for the length of an answer.
    """
    from local_cloud.vertex.learner import GenerationSettings

    for name, (least, most) in _RANGES.items():
        if name in config and not least <= config[name] <= most:
            raise invalid_argument(
                f"Unable to submit request because it has a {name} value of {config[name]} but the supported range "
                f"is from {least} (inclusive) to {most} (inclusive). Update the value and try again."
            )
    return GenerationSettings(
        temperature=config.get("temperature", 1.0),
        top_p=config.get("topP", 0.95),
        top_k=int(config.get("topK", 64)),
        max_output_tokens=min(config.get("maxOutputTokens", _OUTPUT_TOKENS), _MOST_OUTPUT_TOKENS),
        stop_sequences=tuple(config.get("stopSequences", ())),
        candidate_count=config.get("candidateCount", 1),
        seed=config.get("seed"),
    )


def _response(answers: list[Answer], version: str) -> dict[str, Any]:
    ratings = [
        {
            "category": f"HARM_CATEGORY_{category}",
            "probability": "NEGLIGIBLE",
            "probabilityScore": 0.0,
            "severity": "HARM_SEVERITY_NEGLIGIBLE",
            "severityScore": 0.0,
        }
        for category in _CATEGORIES
    ]
    candidates = [
        {
            "index": index,
            "content": {"role": "model", "parts": [{"text": answer.text}]},
            "finishReason": answer.finish_reason,
            "avgLogprobs": answer.average_logprob,
            "safetyRatings": ratings,
        }
        for index, answer in enumerate(answers)
    ]
    prompt = answers[0].prompt_tokens
    output = sum(answer.output_tokens for answer in answers)
    usage = {
        "promptTokenCount": prompt,
        "candidatesTokenCount": output,
        "totalTokenCount": prompt + output,
        "promptTokensDetails": _details(prompt),
        "candidatesTokensDetails": _details(output),
    }
    return {
        "candidates": candidates,
        "usageMetadata": usage,
        "modelVersion": version,
        "createTime": now(),
        "responseId": uuid.uuid4().hex,
    }


def _details(tokens: int) -> list[dict[str, Any]]:
    return [{"modality": "TEXT", "tokenCount": tokens}]


def _pieces(response: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Cut an answer into the events of a stream; the last one of a candidate says why it ended."""
    about = {name: response[name] for name in ("modelVersion", "createTime", "responseId")}
    for candidate in response["candidates"]:
        words = re.findall(r"\s*\S+\s*$|\s*\S+|\s+$", candidate["content"]["parts"][0]["text"])
        texts = ["".join(words[i : i + _WORDS_PER_CHUNK]) for i in range(0, len(words), _WORDS_PER_CHUNK)] or [""]
        for text in texts[:-1]:
            content = {"role": "model", "parts": [{"text": text}]}
            yield {"candidates": [{"index": candidate["index"], "content": content}], **about}
        content = {"role": "model", "parts": [{"text": texts[-1]}]}
        last: dict[str, Any] = {"candidates": [{**candidate, "content": content}], **about}
        if candidate is response["candidates"][-1]:
            last["usageMetadata"] = response["usageMetadata"]
        yield last
