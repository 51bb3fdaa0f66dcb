from __future__ import annotations

import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from local_cloud.laptop.state import StackState, hold_lock, is_locked, make_private_folder, write_private


def test_a_state_is_read_as_it_was_written(tmp_path: Path) -> None:
    state = StackState(phase="ready", supervisor=7, services={"airflow_url": "u"}, pids={"scheduler": 8})
    state.write(tmp_path / "stack.json")
    assert StackState.read(tmp_path / "stack.json") == state


@pytest.mark.parametrize("content", ["", "not JSON", "[]", '{"unknown": 1}'])
def test_what_is_not_a_state_reads_as_none(tmp_path: Path, content: str) -> None:
    (tmp_path / "stack.json").write_text(content)
    assert StackState.read(tmp_path / "stack.json") is None
    assert StackState.read(tmp_path / "no such file") is None


def test_private_files_replace_open_ones_without_keeping_their_mode(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("old")
    file.chmod(0o644)
    write_private(file, "new")
    assert file.read_text() == "new"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [file]


def test_the_state_folder_is_the_owners_alone(tmp_path: Path) -> None:
    make_private_folder(tmp_path / "a" / "b")
    assert stat.S_IMODE((tmp_path / "a" / "b").stat().st_mode) == 0o700


def test_a_lock_is_held_until_its_holder_dies_however_it_dies(tmp_path: Path) -> None:
    file = tmp_path / "stack.lock"
    assert not is_locked(file)
    script = (
        "import sys; from pathlib import Path; from local_cloud.laptop.state import hold_lock\n"
        "lock = hold_lock(Path(sys.argv[1])); print('held', flush=True); sys.stdin.read()"
    )
    include = Path(__file__).resolve().parents[3] / "include"
    with subprocess.Popen(
        [sys.executable, "-c", script, str(file)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={"PYTHONPATH": str(include)},
    ) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == b"held\n"
        assert is_locked(file)
        assert hold_lock(file) is None
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    assert not is_locked(file)
