"""Ask a tuned endpoint a prompt."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gemini_tuning.google_errors import google_errors
from gemini_tuning.smoke.suite import GenerationSettings
from gemini_tuning.tuning.models import Thinking

if TYPE_CHECKING:
    from google.genai import Client, types

NOT_ACTIVE_YET = frozenset({404})  # what a fresh endpoint answers
ATTEMPTS = 6  # over about half a minute


class Answer(NamedTuple):
    """The text of the first candidate and why it ended; text is None when there is none, as when it was blocked."""

    text: str | None
    finish_reason: str


class Endpoint:
    """A tuned model's endpoint (or a base model), ready to be asked.

    :param client: a google-genai client whose location is the *endpoint's*: it may serve elsewhere than it was tuned.
    :param name: ``projects/P/locations/L/endpoints/ID``, or a base model id.
    :param thinking: how the base model is asked not to think.
    """

    def __init__(self, client: Client, name: str, thinking: Thinking | None = None) -> None:
        self._client = client
        self.name = name
        self._thinking = thinking

    def ask(self, prompt: str, settings: GenerationSettings, system_instruction: str | None = None) -> Answer:
        """Return the answer to one prompt.

        :raises ServiceRefusedError: or ``TransientError`` once the client's retries are used up.
        """
        config = self._config(settings, system_instruction)
        with google_errors(f"Asking {self.name}", also_transient=NOT_ACTIVE_YET):
            response = self._client.models.generate_content(model=self.name, contents=prompt, config=config)
        if not response.candidates:
            feedback = response.prompt_feedback
            reason = feedback.block_reason if feedback and feedback.block_reason else None
            return Answer(None, reason.value if reason else "NO_CANDIDATES")
        candidate = response.candidates[0]
        parts = (candidate.content and candidate.content.parts) or []
        text = "".join(part.text for part in parts if part.text and not part.thought)
        reason = candidate.finish_reason
        return Answer(text or None, reason.value if reason else "FINISH_REASON_UNSPECIFIED")

    def _config(self, settings: GenerationSettings, system_instruction: str | None) -> types.GenerateContentConfig:
        from google.genai import types

        thinking = None
        if self._thinking is not None:
            thinking = types.ThinkingConfig(
                thinking_budget=self._thinking.budget,
                thinking_level=types.ThinkingLevel(self._thinking.level) if self._thinking.level else None,
            )
        return types.GenerateContentConfig(
            temperature=settings.temperature,
            top_p=settings.top_p,
            top_k=settings.top_k,
            max_output_tokens=settings.max_output_tokens,
            system_instruction=system_instruction,
            thinking_config=thinking,
            # a fresh endpoint answers 404 until it is active, and shared capacity 429 at times
            http_options=types.HttpOptions(
                retry_options=types.HttpRetryOptions(
                    attempts=ATTEMPTS,
                    initial_delay=1.0,
                    max_delay=20.0,
                    http_status_codes=[404, 408, 429, 500, 502, 503, 504],
                )
            ),
        )
