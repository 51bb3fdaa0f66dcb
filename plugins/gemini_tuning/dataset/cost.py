"""What tuning on a dataset costs, and whether that is within a budget."""

from __future__ import annotations

import math

from gemini_tuning.dataset.codes import Fault
from gemini_tuning.dataset.reports.report import Estimate
from gemini_tuning.errors import ConfigError
from gemini_tuning.tuning.models import BaseModelInfo, ModelTable

ERROR_BAND = "tokens are estimated from characters, good to about a third either way"


def estimate(tokens: int, epochs: int | None, info: BaseModelInfo | None, models: ModelTable) -> Estimate:
    """Return tokens × epochs × price, saying which of them were assumed."""
    used = epochs or models.assumed_epochs
    price = info.price if info else None
    return Estimate(
        tokens_per_epoch=tokens,
        epochs=used,
        epochs_assumed=epochs is None,
        cost_usd=round(tokens * used * price.usd_per_million_tokens / 1e6, 4) if price else None,
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
        f"{estimated}; {ERROR_BAND}"
    )
    return Fault("over-budget", message, "Tune for fewer epochs, on fewer examples, or raise budget_usd.")


def _dollars(amount: float) -> str:
    return f"${amount:,.2f}" if amount >= 1 else f"${amount:.4f}"
