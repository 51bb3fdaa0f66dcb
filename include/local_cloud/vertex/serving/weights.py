"""Answers from the weights behind an endpoint or a base model, without blocking the event loop.

Weights are loaded when first asked for and the most recently used ones stay in memory.
"""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from local_cloud.vertex.errors import ApiError

if TYPE_CHECKING:
    from pathlib import Path

    from local_cloud.vertex.learner import Answer, GenerationSettings, Model

_MODELS_IN_MEMORY = 8
_THREADS = 2


class Serving:
    """Loaded models and the threads that run them. ``weights`` is a saved model's path, None the base model."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="serving")
        self._loaded: OrderedDict[Path | None, Model] = OrderedDict()
        self._loading = threading.Lock()

    def close(self) -> None:
        """Give the threads back; answers that have not begun are dropped."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def answers(
        self,
        weights: Path | None,
        contents: list[dict[str, Any]],
        system_instruction: dict[str, Any] | None,
        settings: GenerationSettings,
    ) -> list[Answer]:
        """Return as many candidates as the settings ask for; each continues from the seed by one."""

        def work() -> list[Answer]:
            model = self._model(weights)
            seeds = [None if settings.seed is None else settings.seed + i for i in range(settings.candidate_count)]
            return [model.answer(contents, system_instruction, replace(settings, seed=seed)) for seed in seeds]

        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    async def count_tokens(self, contents: list[dict[str, Any]], system_instruction: dict[str, Any] | None) -> int:
        """Return the number of tokens of a prompt."""

        def work() -> int:
            from local_cloud.vertex.learner import count_tokens

            return count_tokens(contents, system_instruction)

        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    def _model(self, weights: Path | None) -> Model:
        from local_cloud.vertex.learner import Model

        with self._loading:
            if weights not in self._loaded:
                self._loaded[weights] = Model.base() if weights is None else _load(weights)
            self._loaded.move_to_end(weights)
            while len(self._loaded) > _MODELS_IN_MEMORY:
                self._loaded.popitem(last=False)
            return self._loaded[weights]


def _load(weights: Path) -> Model:
    from local_cloud.vertex.learner import Model

    try:
        return Model.load(weights)
    except (OSError, ValueError) as error:
        raise ApiError(500, f"The weights behind this endpoint cannot be served: {error}") from error
