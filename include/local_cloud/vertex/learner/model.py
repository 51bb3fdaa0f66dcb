"""A model that answers: the frozen base and, once tuned, an adapter."""

from __future__ import annotations

import json
import math
import os
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from local_cloud.vertex.learner.adapter import Adapter, fresh_adapter
from local_cloud.vertex.learner.base import standard_base
from local_cloud.vertex.learner.conversation import context_of, count_tokens
from local_cloud.vertex.learner.features import Source, prompt_features
from local_cloud.vertex.learner.parameters import FeatureTable
from local_cloud.vertex.learner.sampling import DEFAULT_OUTPUT_TOKENS, GenerationSettings, choose
from local_cloud.vertex.learner.text import END_OF_TURN, Decoder

_FORMAT = 1
TABLES = ("prefix", "prompt", "source")
_ARRAYS = ("output", "bias", "scalars", "match", "reluctance")


@dataclass(frozen=True)
class Answer:
    """One candidate."""

    text: str
    finish_reason: Literal["STOP", "MAX_TOKENS"]
    prompt_tokens: int
    output_tokens: int
    average_logprob: float
    """Natural logarithm, mean over the tokens written (the end of the turn included)."""


class Model:
    """Answers prompts; can be saved and loaded."""

    def __init__(self, adapter: Adapter) -> None:
        self.adapter = adapter

    @classmethod
    def base(cls) -> Model:
        """The untuned model."""
        return cls(fresh_adapter())

    def answer(
        self,
        contents: Sequence[Any],
        system_instruction: Any = None,
        settings: GenerationSettings | None = None,
    ) -> Answer:
        """Writes one answer, token by token.

        ``contents`` and ``system_instruction`` are Gemini API ``Content`` objects as JSON. Long ones are cut, see
        :mod:`~local_cloud.vertex.learner.conversation`; ``prompt_tokens`` counts them uncut.
        """
        settings = settings or GenerationSettings()
        writer = _Writer(self.adapter, contents, system_instruction)
        rng = np.random.default_rng(None if settings.seed is None else settings.seed & 0xFFFFFFFF)
        decoder, text, reason = Decoder(), "", "MAX_TOKENS"
        for _ in range(max(1, settings.max_output_tokens or DEFAULT_OUTPUT_TOKENS)):
            token = writer.write(settings, rng)
            text += decoder.push(token) if token != END_OF_TURN else decoder.finish()
            cut = _first_stop(text, settings.stop_sequences)
            if token == END_OF_TURN or cut is not None:
                text, reason = text[:cut], "STOP"
                break
        else:
            text += decoder.finish()
        written = len(writer.tokens)
        output = written - (writer.tokens[-1] == END_OF_TURN)
        return Answer(
            text, "STOP" if reason == "STOP" else "MAX_TOKENS", count_tokens(contents, system_instruction), output,
            writer.logprob / written,
        )  # fmt: skip

    def save(self, path: str | Path) -> None:
        """Writes the model to one file (NumPy's npz, no pickles), in place of an older one at once or not at all."""
        path = Path(path)
        adapter = self.adapter
        arrays = {name: getattr(adapter, name) for name in _ARRAYS}
        for name in TABLES:
            table: FeatureTable = getattr(adapter, name)
            arrays |= {f"{name}_keys": table.keys, f"{name}_weights": table.weights}
        about = {"format": _FORMAT, "base": _fingerprint(), "outputs": adapter.outputs}
        arrays["about"] = np.frombuffer(json.dumps(about).encode(), np.uint8)
        temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
        with temporary.open("wb") as file:
            np.savez(file, **arrays)
        temporary.replace(path)

    @classmethod
    def load(cls, path: str | Path) -> Model:
        """Reads a saved model. Raises ValueError when it was made by another version or over another base."""
        with np.load(path, allow_pickle=False) as arrays:
            about = json.loads(arrays["about"].tobytes())
            if about["format"] != _FORMAT or about["base"] != _fingerprint():
                raise ValueError(f"{path}: the model was tuned by another version of the local learner; tune it again")
            prefix, prompt, source = (
                FeatureTable(arrays[f"{name}_keys"], arrays[f"{name}_weights"]) for name in TABLES
            )
            weights = {name: arrays[name] for name in _ARRAYS}
            return cls(Adapter(tuple(about["outputs"]), prefix, prompt, source, **weights))


class _Writer:
    """One answer in the making."""

    def __init__(self, adapter: Adapter, contents: Sequence[Any], system_instruction: Any) -> None:
        context = context_of(contents, system_instruction)
        self._adapter, self._source = adapter, Source.of(context, adapter.written)
        self._question = adapter.ask(*prompt_features(context), self._source)
        places = {token: number for number, token in enumerate((*adapter.outputs, *adapter.rest))}
        self._copies = [places.setdefault(token, len(places)) for token in self._source.tokens]
        self._words = list(places)
        self._rest = np.array(list(adapter.rest.values()))
        self.tokens: list[str] = []
        self.logprob = 0.0

    def write(self, settings: GenerationSettings, rng: np.random.Generator) -> str:
        """The next token."""
        keys = np.array([self._source.prefix_keys(self.tokens)], np.uint32)
        steps = self._adapter.probabilities(self._question, keys, self._source.matches(self.tokens)[None])
        row, learned = steps.probabilities[0].astype(np.float64), len(self._adapter.outputs)
        probabilities = np.zeros(len(self._words))
        probabilities[:learned] = row[:learned]
        probabilities[learned : learned + len(self._rest)] = row[learned] * self._rest
        np.add.at(probabilities, self._copies, row[learned + 1 :])
        chosen = choose(probabilities, settings, rng)
        self.logprob += math.log(max(probabilities[chosen], 1e-30))
        self.tokens.append(self._words[chosen])
        return self._words[chosen]


def _first_stop(text: str, sequences: Sequence[str]) -> int | None:
    found = [text.find(sequence) for sequence in sequences if sequence and sequence in text]
    return min(found, default=None)


def _fingerprint() -> int:
    return zlib.crc32("\n".join(standard_base().tokens).encode())
