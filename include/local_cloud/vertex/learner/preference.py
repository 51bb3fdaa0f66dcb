"""Preference tuning: of two answers to a prompt, to give the one that was preferred.

The loss of a pair is that of DPO (Rafailov et al., 2023), ``-log sigmoid(beta * margin)``, where the margin is by how
much the preferred answer gained on the rejected one, in log-probability, since training began; plus the ordinary
cross-entropy of the preferred answer. DPO alone only moves the two apart: it presumes a model that already gives
answers much like them. The answers of the untuned learner are noise, and pushed apart they would stay noise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from local_cloud.vertex.learner.objective import Imitation, Score

if TYPE_CHECKING:
    from local_cloud.vertex.learner.adapter import Adapter, Gradients
    from local_cloud.vertex.learner.encoding import Encoded

_STEEPEST = 500.0


@dataclass(frozen=True)
class Comparison:
    """A preferred and a rejected answer to one prompt."""

    preferred: Imitation
    rejected: Imitation
    beta: float
    reference: float
    """Log-probability of the preferred less that of the rejected answer, by the weights that training started from."""

    @classmethod
    def of(cls, adapter: Adapter, preferred: Encoded, rejected: Encoded, beta: float) -> Comparison:
        """The lesson of a pair for this adapter, which is its reference as it is now."""
        pair = Imitation.of(adapter, preferred), Imitation.of(adapter, rejected)
        better, worse = (answer.score(adapter).loss for answer in pair)
        return cls(*pair, beta, worse - better)

    def score(self, adapter: Adapter) -> Score:
        """See Lesson: predictions are those of the preferred answer, the loss is that of the pair."""
        better, worse = self.preferred.score(adapter), self.rejected.score(adapter)
        return self._judge(better, worse)[0]

    def learn(self, adapter: Adapter) -> tuple[Score, list[Gradients]]:
        """See Lesson."""
        better, worse = self.preferred.attempt(adapter), self.rejected.attempt(adapter)
        score, pull = self._judge(better.score, worse.score)
        return score, [better.gradients(1.0 + pull), worse.gradients(-pull)]

    def _judge(self, better: Score, worse: Score) -> tuple[Score, float]:
        """The score of the pair, and how hard its answers are to be pulled apart."""
        logit = self.beta * (worse.loss - better.loss - self.reference)
        wrong = 1.0 / (1.0 + math.exp(min(logit, _STEEPEST)))
        loss = math.log1p(math.exp(-abs(logit))) + max(0.0, -logit)
        return Score(better.loss + loss, better.correct, better.predictions), self.beta * wrong
