"""The learner: a small language model that is really tuned, in seconds, on one processor core, with NumPy alone."""

from __future__ import annotations

from local_cloud.vertex.learner.conversation import count_tokens
from local_cloud.vertex.learner.model import Answer, Model
from local_cloud.vertex.learner.sampling import GenerationSettings
from local_cloud.vertex.learner.training import Hyperparameters, StepMetrics, train
from local_cloud.vertex.learner.turns import Sample, answers_of, preferences_of, sample

__all__ = [
    "Answer",
    "GenerationSettings",
    "Hyperparameters",
    "Model",
    "Sample",
    "StepMetrics",
    "answers_of",
    "count_tokens",
    "preferences_of",
    "sample",
    "train",
]
