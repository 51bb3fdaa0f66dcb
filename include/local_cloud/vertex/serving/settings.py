"""What a prompt may ask for: which settings are heeded, which are refused, and why.

- Heeded: ``temperature`` (0 always gives the most probable answer), ``topP``, ``topK``, ``candidateCount``,
  ``maxOutputTokens``, ``stopSequences`` and ``seed`` (the same seed, the same answers).
- An answer ends after 1,024 tokens when ``maxOutputTokens`` is not given, and after 4,096 at the latest.
- ``thinkingConfig`` is checked against the model's family and else without effect: nothing is thought, and
  ``thoughtsTokenCount`` stays away. Gemini 3 takes a budget in place of a level; its range is not documented.
- ``safetySettings``, ``labels`` and ``serviceTier`` are taken without effect, which nobody could notice.
- Whatever else would change the answer is refused with 501 UNIMPLEMENTED by name, rather than ignored: tools, cached
  content, JSON and other structured output, log probabilities, penalties, modalities other than text, media settings,
  and parts that are not text.
- A conversation must end with a user turn; turns need not alternate. A text must not be empty.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from local_cloud.vertex.errors import ApiError, invalid_argument

if TYPE_CHECKING:
    from local_cloud.vertex.catalogue import BaseModel
    from local_cloud.vertex.learner import GenerationSettings

_RANGES = {
    "temperature": (0, 2),
    "topP": (0, 1),
    "topK": (1, 2**31),
    "maxOutputTokens": (1, 65_536),
    "candidateCount": (0, 8),
}
_OUTPUT_TOKENS = 1_024
_MOST_OUTPUT_TOKENS = 4_096
"""Whatever was asked for: a barely tuned model may never find an end, and each token takes about a millisecond."""
_STOP_SEQUENCES = 5
_ROLES = ("user", "model", "function")
_TEXT_PART = ("text", "thought", "thoughtSignature")
_REQUEST_WITHOUT_EFFECT = ("safetySettings", "labels", "serviceTier")
_REQUEST_READ = ("model", "contents", "systemInstruction", "generationConfig")
_CONFIG_READ = (*_RANGES, "stopSequences", "seed", "thinkingConfig")
_MEANS_NOTHING: dict[str, tuple[Any, ...]] = {
    "responseMimeType": ("text/plain",),
    "responseModalities": (["TEXT"], ["MODALITY_UNSPECIFIED"]),
    "mediaResolution": ("MEDIA_RESOLUTION_UNSPECIFIED",),
}
_UNSUBMITTABLE = "Unable to submit request because"


def contents_of(body: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the conversation with its roles in lower case.

    Raises:
        ApiError: 400 for what is no conversation, 501 for parts that are not text.
    """
    contents: list[dict[str, Any]] = body.get("contents", [])
    if not contents:
        raise invalid_argument(f"{_UNSUBMITTABLE} at least one contents field is required.")
    result = []
    for index, content in enumerate(contents):
        role = content.get("role", "").lower() or "user"  # Google's older samples say USER
        if role not in _ROLES:
            raise invalid_argument("Please use a valid role: user, model.")
        _check_parts(content, f"contents[{index}]")
        result.append({**content, "role": role})
    if "systemInstruction" in body:
        _check_parts(body["systemInstruction"], "system_instruction")
    return result


def check_last_turn(contents: list[dict[str, Any]]) -> None:
    """Refuse to answer the model's own turn."""
    if contents[-1]["role"] == "model":
        raise invalid_argument(
            "Please ensure that single turn requests end with a user role or the role field is empty."
        )


def _check_parts(content: dict[str, Any], path: str) -> None:
    if not content.get("parts"):
        raise invalid_argument(f"{_UNSUBMITTABLE} it must include at least one parts field.")
    for index, part in enumerate(content["parts"]):
        for name in part:
            if name not in _TEXT_PART:
                raise _not_imitated(f"{path}.parts[{index}].{name}")
        if "text" not in part:
            raise invalid_argument(
                f"{_UNSUBMITTABLE} {path}.parts[{index}] has no data: one of text, inlineData, fileData, … is required."
            )
        if not part["text"]:
            raise invalid_argument(
                f"{_UNSUBMITTABLE} it has an empty text parameter. Add a value to the parameter and try again."
            )


def settings_of(body: dict[str, Any], base: BaseModel | None) -> GenerationSettings:
    """Return the generation settings of a request.

    What is unset has the default of Gemini's model pages, but for the length of an answer.

    Args:
        body: the canonical request.
        base: the base model that answers, or that the answering model was tuned from, if it is known.

    Raises:
        ApiError: 400 for values the model does not take, 501 for what this server does not imitate.
    """
    from local_cloud.vertex.learner import GenerationSettings

    config: dict[str, Any] = body.get("generationConfig", {})
    _check_imitated(body, (*_REQUEST_READ, *_REQUEST_WITHOUT_EFFECT), "")
    _check_imitated(config, _CONFIG_READ, "generation_config.")
    for name, (least, most) in _RANGES.items():
        if name in config and not least <= config[name] <= most:
            raise invalid_argument(
                f"{_UNSUBMITTABLE} it has a {name} value of {config[name]} but the supported range "
                f"is from {least} (inclusive) to {most} (inclusive). Update the value and try again."
            )
    stops = config.get("stopSequences", [])
    if len(stops) > _STOP_SEQUENCES or not all(stops):
        raise invalid_argument(
            f"{_UNSUBMITTABLE} stopSequences takes up to {_STOP_SEQUENCES} texts, none of them empty."
        )
    if base is not None:
        _check_thinking(config.get("thinkingConfig", {}), base)
    return GenerationSettings(
        temperature=config.get("temperature", 1.0),
        top_p=config.get("topP", 0.95),
        top_k=int(config.get("topK", 64)),
        max_output_tokens=min(config.get("maxOutputTokens", _OUTPUT_TOKENS), _MOST_OUTPUT_TOKENS),
        stop_sequences=tuple(stops),
        candidate_count=config.get("candidateCount") or 1,
        seed=config.get("seed"),
    )


def _check_imitated(fields: dict[str, Any], known: tuple[str, ...], path: str) -> None:
    for name, value in fields.items():
        if name not in known and value and value not in _MEANS_NOTHING.get(name, ()):
            raise _not_imitated(path + name)


def _check_thinking(asked: dict[str, Any], base: BaseModel) -> None:
    budget, level = asked.get("thinkingBudget"), asked.get("thinkingLevel", "THINKING_LEVEL_UNSPECIFIED")
    levelled = level != "THINKING_LEVEL_UNSPECIFIED"
    takes = base.thinking
    if takes is None:
        if budget or levelled or asked.get("includeThoughts"):
            raise invalid_argument(f"{_UNSUBMITTABLE} thinking is not supported by this model.")
        return
    if levelled and budget is not None:
        raise invalid_argument("You can only set only one of thinking budget and thinking level.")
    if levelled and level not in takes.levels:
        what = f"level {level}" if takes.levels else "level"
        raise invalid_argument(f"Thinking {what} is not supported for this model.")
    if budget is not None and budget != -1:
        _check_budget(budget, takes.least, takes.most, can_be_off=takes.can_be_off)
    if budget == 0 and asked.get("includeThoughts"):
        raise invalid_argument(
            f"{_UNSUBMITTABLE} Thinking_config.include_thoughts is only enabled when thinking is enabled."
        )


def _check_budget(budget: int, least: int | None, most: int | None, *, can_be_off: bool) -> None:
    if budget == 0 and can_be_off:
        return
    if budget < (least or 0) or (most is not None and budget > most):
        known = f" Please choose a value between {least} and {most}." if least is not None else ""
        off = " Thinking can't be disabled for this model." if budget == 0 else ""
        raise invalid_argument(f"The thinking budget {budget} is invalid.{known}{off}")


def _not_imitated(path: str) -> ApiError:
    return ApiError(501, f"The local Vertex AI does not imitate `{path}`: it reads and writes plain text only.")
