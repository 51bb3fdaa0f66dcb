"""Google's own clients can't tell the local cloud from the real service, as far as the contracts look."""

from __future__ import annotations

import pytest
from tests.local_cloud.contract import protos
from tests.local_cloud.contract.contracts import CONTRACTS
from tests.local_cloud.contract.service import Service


@pytest.mark.parametrize("name", CONTRACTS)
def test_a_contract_is_kept(service: Service, name: str) -> None:
    before = len(service.proxy.exchanges)
    CONTRACTS[name](service)
    said = service.proxy.exchanges[before:]
    assert said
    for exchange in said:
        if not exchange.path.startswith("/_local/"):
            protos.check(exchange)
