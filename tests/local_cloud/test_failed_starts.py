"""What a bad start says."""

from __future__ import annotations

import contextlib
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.local_cloud.services import INCLUDE, command_line

if TYPE_CHECKING:
    from tests.local_cloud.services import LocalCloud


def failed_start(state_dir: Path, **flags: object) -> str:
    """Start a local cloud that cannot run, and return what it says."""
    ready = state_dir.with_suffix(".ready")
    outcome = subprocess.run(
        command_line(state_dir, ready, **flags),
        env={"PYTHONPATH": str(INCLUDE)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert outcome.returncode == 1
    assert "Traceback" not in outcome.stderr
    assert not ready.exists()
    return outcome.stderr


@pytest.mark.parametrize("which", ["vertex_port", "storage_port"])
def test_a_taken_port_is_named(local_cloud: LocalCloud, tmp_path: Path, which: str) -> None:
    url = local_cloud.vertex_url if which == "vertex_port" else local_cloud.storage_url
    port = url.rpartition(":")[2]
    assert port in failed_start(tmp_path / "state", **{which: port})


def test_two_cannot_share_a_state_directory(local_cloud: LocalCloud) -> None:
    state_dir = Path(local_cloud.credentials_path).parent
    assert str(state_dir) in failed_start(state_dir)
    assert local_cloud.counters()


def test_a_missing_models_table_is_named(tmp_path: Path) -> None:
    assert "no-such.yaml" in failed_start(tmp_path / "state", models=tmp_path / "no-such.yaml")


def test_a_state_directory_of_another_version_is_refused(tmp_path: Path) -> None:
    state_dir = tmp_path / "state"
    state_dir.mkdir()
    with contextlib.closing(sqlite3.connect(state_dir / "vertex.sqlite")) as db:
        db.execute("CREATE TABLE jobs (id TEXT PRIMARY KEY)")
    message = failed_start(state_dir).splitlines()[-1]
    assert message == (
        f"local_cloud: the state directory {state_dir} was written by another version of this program: "
        "remove it, or give another --state-dir"
    )


@pytest.mark.parametrize("content", [b"this is no database" * 100, b"SQLite format 3\0" + b"\xff" * 5000])
def test_a_store_that_cannot_be_read_is_named(tmp_path: Path, content: bytes) -> None:
    state_dir = tmp_path / "state"
    state_dir.mkdir()
    (state_dir / "vertex.sqlite").write_bytes(content)
    message = failed_start(state_dir).splitlines()[-1]
    assert message.startswith(f"local_cloud: the job store {state_dir / 'vertex.sqlite'} cannot be read (")
    assert message.endswith("): remove it, or give another --state-dir")


def test_somebody_must_train(tmp_path: Path) -> None:
    assert "--training-processes must be at least 1" in failed_start(tmp_path / "state", training_processes=0)


def test_a_tied_process_does_not_start_for_a_parent_that_is_gone() -> None:
    program = [sys.executable, str(INCLUDE / "local_cloud" / "lifeline.py"), "1", sys.executable, "-c", "print('ran')"]
    outcome = subprocess.run(program, capture_output=True, text=True, timeout=60, check=False)
    assert (outcome.returncode, outcome.stdout) == (1, "")
