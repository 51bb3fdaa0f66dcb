"""Google's own clients can't tell the local cloud from the real service, as far as the contracts look."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.local_cloud.contract import protos
from tests.local_cloud.contract.broken import BROKEN
from tests.local_cloud.contract.contracts import CONTRACTS
from tests.local_cloud.contract.service import Service

_LITTLE = 3.0


def _keep(service: Service, name: str) -> None:
    """Hold a contract against a service, and each exchange it takes against Google's types."""
    before = len(service.exchanges)
    CONTRACTS[name](service)
    said = service.exchanges[before:]
    assert said
    for exchange in said:
        protos.check(exchange)


@pytest.mark.parametrize("name", CONTRACTS)
def test_a_contract_is_kept(service: Service, name: str) -> None:
    _keep(service, name)


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_server_breaks_its_contract(service: Service, name: str) -> None:
    """Whatever fails, fails: a client library that stumbles is as good as an assertion."""
    server, contract = BROKEN[name]
    with service.proxy.broken(server), pytest.raises(Exception, match=r".*"):
        _keep(replace(service, patience=_LITTLE), contract)
