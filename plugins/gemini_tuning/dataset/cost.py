"""What tuning on a dataset costs, and whether that is within a budget."""

from __future__ import annotations

import math
from typing import NamedTuple

from gemini_tuning.dataset.codes import Fault
from gemini_tuning.dataset.reading.files import FileScan
from gemini_tuning.dataset.reports.report import ERROR_BAND, Estimate, plural
from gemini_tuning.errors import ConfigError
from gemini_tuning.tuning.models import BaseModelInfo, ModelTable


class Tokens(NamedTuple):
    """The tokens of one epoch, and what they rest on; the fields are those of ``Estimate``."""

    per_epoch: int
    examples: int
    counted: int = 0
    error_band: float = ERROR_BAND
    incomplete: int = 0


def estimated_tokens(scan: FileScan) -> Tokens:
    """Return the tokens of a training file as they are estimated without asking anybody."""
    tokens = sum(value * count for value, count in scan.tokens.items())
    return Tokens(tokens, len(scan.prompts), incomplete=scan.unmeasured)


def estimate(tokens: Tokens, epochs: int | None, info: BaseModelInfo | None, models: ModelTable) -> Estimate:
    """Return tokens × epochs × price, saying which of them were assumed."""
    used = epochs or models.assumed_epochs
    price = info.price if info else None
    return Estimate(
        tokens_per_epoch=tokens.per_epoch,
        examples=tokens.examples,
        examples_counted=tokens.counted,
        examples_incomplete=tokens.incomplete,
        error_band=round(tokens.error_band, 4),
        epochs=used,
        epochs_assumed=epochs is None,
        cost_usd=round(tokens.per_epoch * used * price.usd_per_million_tokens / 1e6, 4) if price else None,
        price_as_of=price.as_of if price else None,
        price_verified=price.verified if price else None,
    )


def budget(value: float | str | None) -> float | None:
    """Return a budget that somebody wrote; an empty text, as a template may leave it, is none.

    :raises ConfigError: when it is no amount of money.
    """
    if value in (None, ""):
        return None
    try:
        amount = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        amount = math.nan
    if not 0 < amount < math.inf:
        raise ConfigError(f"budget_usd is {value!r}; write US dollars above 0, such as 25, or leave it out.")
    return amount


def over_budget(estimated: Estimate, budget_usd: float) -> Fault | None:
    """Return why a job may not be bought for this budget, or None: too dear, or of unknown price."""
    if estimated.cost_usd is None:
        message = f"no price is known for the base model, so nobody knows whether {_dollars(budget_usd)} are enough"
        return Fault("over-budget", message, "Add its price to include/models.yaml, or leave budget_usd out.")
    if estimated.cost_usd <= budget_usd:
        return None
    message = (
        f"a job is estimated to cost {_dollars(estimated.cost_usd)}, the budget is {_dollars(budget_usd)}: "
        f"{estimated}; {estimated.basis}"
    )
    return Fault("over-budget", message, "Tune for fewer epochs, on fewer examples, or raise budget_usd.")


def left_out(estimated: Estimate, budget_usd: float | None) -> list[str]:
    """Return what to note of the tokens that the estimate leaves out."""
    if not estimated.examples_incomplete:
        return []
    examples = plural(estimated.examples_incomplete, "training example")
    note = f"{examples} with audio, video, PDF or text files: the tokens of these files are not in the estimate"
    if budget_usd is not None and estimated.cost_usd is not None and estimated.cost_usd <= budget_usd:
        note += f", so that a job may cost more than the budget of {_dollars(budget_usd)} though the estimate does not"
    return [f"{note}. Exact counting (exact_tokens) includes them."]


def _dollars(amount: float) -> str:
    return f"${amount:,.2f}" if amount >= 1 else f"${amount:.4f}"
