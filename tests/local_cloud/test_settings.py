"""Settings that are changed while the local cloud runs: which of them the next start finds again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import yaml
from tests.local_cloud.services import running_local_cloud

if TYPE_CHECKING:
    from pathlib import Path


def behaviour(path: Path, patch: dict[str, Any] | None = None, **flags: Any) -> dict[str, Any]:
    """Start, change settings, and return those that were found at the start."""
    with running_local_cloud(path, **flags) as cloud:
        found: dict[str, Any] = cloud.control("GET", "settings")
        if patch is not None:
            changed = cloud.control("PATCH", "settings", patch)
            assert changed == cloud.control("GET", "settings") == {**found, **patch}
    return found


def test_a_change_is_found_again_unless_a_flag_says_otherwise(tmp_path: Path) -> None:
    script = tmp_path / "script.yaml"
    script.write_text(yaml.safe_dump({"settings": {"quota": 3, "latency_seconds": 0.01, "queued_seconds": 0.2}}))
    state = tmp_path / "state"
    first = behaviour(state, {"quota": 5, "over_quota": "refuse", "pending_seconds": 7.0}, script=script)
    assert (first["quota"], first["over_quota"], first["pending_seconds"]) == (3, "queue", 0.2)
    second = behaviour(state, {"quota": None}, script=script, list_lag_seconds=4)
    assert second == {**first, "quota": 5, "over_quota": "refuse", "list_lag_seconds": 4.0}  # 0.2 s is a flag
    third = behaviour(state, script=script, over_quota="queue")
    assert third == {**first, "quota": None}


def test_a_change_that_is_refused_is_not_kept(tmp_path: Path) -> None:
    with running_local_cloud(tmp_path) as cloud:
        url = f"{cloud.vertex_url}/_local/settings"
        assert httpx.patch(url, json={"quota": 2, "step_seconds": -1}, trust_env=False).status_code == 400
    assert behaviour(tmp_path)["quota"] is None


def test_changes_are_forgotten_on_demand(tmp_path: Path) -> None:
    first = behaviour(tmp_path, {"quota": 5}, latency_seconds=0.01)
    with running_local_cloud(tmp_path, latency_seconds=0.01) as cloud:
        cloud.control("PATCH", "settings", {"latency_seconds": 0.02, "tune_retired": True})
        assert cloud.control("DELETE", "settings") == cloud.control("GET", "settings") == first
    assert behaviour(tmp_path, latency_seconds=0.01) == first
