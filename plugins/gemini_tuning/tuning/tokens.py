"""Have Vertex AI count the tokens of examples."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gemini_tuning.errors import ConfigError
from gemini_tuning.google_errors import google_errors
from gemini_tuning.tuning.models import BaseModelInfo, is_tuned_model

if TYPE_CHECKING:
    from google.genai import Client

ATTEMPTS = 6  # over about half a minute; the quota is per minute
_COUNTED = ("contents", "systemInstruction", "system_instruction", "tools", "generationConfig", "generation_config")


def counting_location(base_model: str, info: BaseModelInfo | None, location: str) -> str:
    """Return where a base model can be asked: where models tuned on it serve.

    :param location: where the job is to run.
    :raises ConfigError: for a tuned model, which has a name but nothing that could be asked.
    """
    if is_tuned_model(base_model):
        raise ConfigError(f"{base_model} is a tuned model; only base models count tokens.")
    return ((info and info.serving_locations) or {}).get(location, location)


class TokenCounter:
    """Counts the tokens of examples as a base model does. May be called by several threads at a time.

    :param client: a google-genai client of a location where the model serves; kept alive here.
    """

    def __init__(self, client: Client, base_model: str) -> None:
        self._client = client
        self._model = base_model

    def __call__(self, example: dict[str, Any], where: str) -> int:
        """Return the tokens of all turns, the system instruction, the tools, and the files as the service reads them.

        :param example: a line of a dataset.
        :param where: its place, for the error.
        :raises ServiceRefusedError: or ``TransientError`` once the client's retries are used up.
        """
        from google.genai import types

        options = types.HttpOptions(
            retry_options=types.HttpRetryOptions(attempts=ATTEMPTS, initial_delay=1.0, max_delay=20.0),
            # takes the place of the whole body: the client's own types know less than a line may hold
            extra_body={key: example[key] for key in _COUNTED if key in example},
        )
        config = types.CountTokensConfig(http_options=options)
        with google_errors(f"Counting the tokens of {where}"):
            counted = self._client.models.count_tokens(model=self._model, contents="-", config=config)
            return counted.total_tokens or 0
