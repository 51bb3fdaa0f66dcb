"""What a line is held to besides its shape: the base model's limits, and which codes count as errors."""

from __future__ import annotations

import msgspec

from gemini_tuning.dataset.codes import Severity, severities

MODALITY_NAMES = {"image": "images", "audio": "audio files", "video": "videos", "pdf": "PDFs"}


class Rules(msgspec.Struct, frozen=True):
    """Rules of one check, small enough to be sent to every process that takes part.

    ``modalities``: what the base model is tuned on, None = unknown, so anything.
    ``media_types``: MIME type -> modality; empty = unknown.
    ``files_per_example``: modality -> count.
    ``tokens_per_example``: None = unknown.
    """

    severities: dict[str, Severity] = msgspec.field(default_factory=lambda: severities(None))
    base_model: str = ""
    modalities: tuple[str, ...] | None = None
    media_types: dict[str, str] = {}  # msgspec copies it
    files_per_example: dict[str, int] = {}
    tokens_per_example: int | None = None
