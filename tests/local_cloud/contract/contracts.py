"""All contracts by name. A contract is a function that fails when the service it talks to breaks it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.local_cloud.contract import (
    gapic_contracts,
    metrics_contracts,
    models_contracts,
    prompting_contracts,
    rest_contracts,
    tuning_contracts,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.local_cloud.contract.service import Genai, Service

    Contract = Callable[[Service], None]

VERSIONS = ("v1", "v1beta1")
_GENAI = (
    tuning_contracts.genai_life_of_a_job,
    tuning_contracts.genai_finished_job,
    tuning_contracts.genai_lists,
    tuning_contracts.genai_errors,
    tuning_contracts.genai_continuous_tuning,
    tuning_contracts.genai_preference_tuning,
    prompting_contracts.genai_prompts,
    prompting_contracts.genai_streams,
    prompting_contracts.genai_generation_settings,
    prompting_contracts.genai_prompt_errors,
    models_contracts.genai_models,
    models_contracts.genai_default_checkpoint,
)
_GAPIC = (
    gapic_contracts.gapic_life_of_a_job,
    gapic_contracts.gapic_lists,
    gapic_contracts.gapic_finished_job,
    gapic_contracts.gapic_errors,
    gapic_contracts.gapic_states,
    gapic_contracts.gapic_prompting,
    models_contracts.gapic_models,
    models_contracts.gapic_deleted_model,
)
_OTHERS = (
    metrics_contracts.tensorboard_run,
    metrics_contracts.experiment_run,
    rest_contracts.rest_bodies,
    rest_contracts.rest_lists,
    rest_contracts.rest_prompts,
    rest_contracts.rest_enum_encoding,
    rest_contracts.rest_refuses_unknown_fields,
)


def _with_genai(check: Callable[[Service, Genai], None], version: str, *, asynchronous: bool) -> Contract:
    def contract(service: Service) -> None:
        client = service.genai_async(version) if asynchronous else service.genai(version)
        try:
            check(service, client)
        finally:
            client.close()

    return contract


def _with_gapic(check: Callable[[Service, str], None], version: str) -> Contract:
    return lambda service: check(service, version)


CONTRACTS: dict[str, Contract] = {
    **{f"{check.__name__}-{v}": _with_genai(check, v, asynchronous=False) for check in _GENAI for v in VERSIONS},
    # the server can't tell this client from the other: it is enough that it understands every answer
    **{f"{check.__name__}-async": _with_genai(check, "v1beta1", asynchronous=True) for check in _GENAI},
    "genai_states-v1": _with_genai(tuning_contracts.genai_states, "v1", asynchronous=False),
    "genai_states-async": _with_genai(tuning_contracts.genai_states, "v1beta1", asynchronous=True),
    **{f"{check.__name__}-{version}": _with_gapic(check, version) for check in _GAPIC for version in VERSIONS},
    **{check.__name__: check for check in _OTHERS},
}
