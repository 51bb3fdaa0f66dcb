"""The learner: a small language model that is really tuned, in seconds, on one processor core, with NumPy alone."""

from __future__ import annotations

from local_cloud.vertex.learner.conversation import count_tokens
from local_cloud.vertex.learner.model import Answer, Model
from local_cloud.vertex.learner.sampling import GenerationSettings
from local_cloud.vertex.learner.training import Hyperparameters, StepMetrics, train

__all__ = [
    "Answer",
    "GenerationSettings",
    "Hyperparameters",
    "Model",
    "StepMetrics",
    "count_tokens",
    "train",
]
