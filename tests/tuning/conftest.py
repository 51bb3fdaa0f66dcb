from __future__ import annotations

import socket

import pytest
from tests.local_cloud.services import running_local_cloud
from tests.tuning.shop import LAG, Shop

from gemini_tuning.tuning import cancelling

LINE = '{"contents":[{"role":"user","parts":[{"text":"a"}]},{"role":"model","parts":[{"text":"b"}]}]}\n'


@pytest.fixture(scope="session")
def lagging_cloud(tmp_path_factory):
    """A service whose list lags, and whose jobs don't begin."""
    with running_local_cloud(tmp_path_factory.mktemp("shop"), pending_seconds=10_000, list_lag_seconds=LAG) as cloud:
        yield cloud


@pytest.fixture
def shop(lagging_cloud, monkeypatch):
    cloud = lagging_cloud
    for name, value in cloud.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(cancelling, "PAUSE_SECONDS", 0.05)
    cloud.control("DELETE", "requests")
    yield Shop(cloud, cloud.upload("shop/train.jsonl", LINE * 8))
    cloud.control("DELETE", "faults")
    cloud.control("DELETE", "settings")


@pytest.fixture
def unused_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
