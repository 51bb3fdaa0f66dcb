"""Google's own clients can't tell the local cloud from the real service, as far as the contracts look.

The broken servers come first: all contracts must still be kept after them, by the same service.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.local_cloud.contract import protos
from tests.local_cloud.contract.broken import BROKEN
from tests.local_cloud.contract.contracts import CONTRACTS
from tests.local_cloud.contract.service import Service

_LITTLE = 1.0


def _keep(service: Service, name: str) -> None:
    """Hold a contract against a service, and each exchange it takes against Google's types."""
    before = len(service.exchanges)
    CONTRACTS[name](service)
    said = service.exchanges[before:]
    assert said
    for exchange in said:
        protos.check(exchange)


def _complaint(service: Service, name: str) -> Exception | None:
    """Whatever fails, fails: a client library that stumbles is as good as an assertion."""
    try:
        _keep(service, name)
    except Exception as error:
        return error
    return None


def _shared(service: Service) -> list[dict[str, Any]]:
    """What all contracts find there and none may change."""
    names = service.tuned["name"], service.tuned["tunedModel"]["model"], service.tuned["tunedModel"]["endpoint"]
    return [service.json("GET", f"/v1/{name}") for name in names]


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_server_breaks_its_contract(service: Service, name: str) -> None:
    server, contract = BROKEN[name]
    before = _shared(service)
    with service.proxy.broken(server):
        complaint = _complaint(replace(service, patience=_LITTLE), contract)
        spoiled = service.proxy.spoiled
    assert service.proxy.failures == []
    assert spoiled
    assert complaint
    assert _shared(service) == before


@pytest.mark.parametrize("name", CONTRACTS)
def test_a_contract_is_kept(service: Service, name: str) -> None:
    _keep(service, name)
