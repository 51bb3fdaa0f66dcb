from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from local_cloud.laptop.processes import MARK, end_marked, family, marked, spawn

# Says its id and ignores requests to end; its child has an environment of its own, without the mark.
STUBBORN = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], env={})
print(child.pid, flush=True)
time.sleep(600)
"""


@pytest.fixture
def mark(tmp_path: Path) -> Iterator[str]:
    yield str(tmp_path)
    end_marked(str(tmp_path), grace=0)


def _start(mark: str, script: str = "import time; time.sleep(600)") -> subprocess.Popen[bytes]:
    environment = {MARK: mark, "PATH": os.environ["PATH"]}
    return subprocess.Popen([sys.executable, "-c", script], env=environment, stdout=subprocess.PIPE)


def _wait_until_gone(pid: int) -> None:
    deadline = time.monotonic() + 20
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline, f"process {pid} is still there"
        time.sleep(0.02)


def test_processes_are_found_by_their_mark(mark: str, tmp_path: Path) -> None:
    with _start(mark) as ours, _start(mark + "/other") as theirs:
        assert [process.pid for process in marked(mark)] == [ours.pid]
        end_marked(mark)
        assert ours.wait() < 0
        assert theirs.poll() is None
        theirs.kill()


def test_a_process_that_ignores_sigterm_is_ended_with_its_unmarked_child(mark: str) -> None:
    with _start(mark, STUBBORN) as stubborn:
        assert stubborn.stdout
        child = int(stubborn.stdout.readline())
        assert sorted(end_marked(mark, grace=0.1)) == sorted([stubborn.pid, child])
        assert stubborn.wait() == -9
        _wait_until_gone(child)
    assert marked(mark) == []


def test_the_caller_never_ends_itself(mark: str) -> None:
    script = (
        "import os, sys; from local_cloud.laptop.processes import end_marked; end_marked(sys.argv[1]); print('alive')"
    )
    include = Path(__file__).resolve().parents[3] / "include"
    environment = {MARK: mark, "PYTHONPATH": str(include)}
    said = subprocess.run([sys.executable, "-c", script, mark], env=environment, capture_output=True, text=True)
    assert said.stdout == "alive\n"


def test_spared_processes_stay(mark: str) -> None:
    with _start(mark) as spared, _start(mark) as ended:
        end_marked(mark, spare=family(spared.pid))
        assert ended.wait() < 0
        assert spared.poll() is None
        spared.kill()


def test_the_family_of_a_process_that_is_gone_is_empty() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    assert family(process.pid) == set()


def test_a_spawned_process_ends_with_the_one_that_started_it(mark: str, tmp_path: Path) -> None:
    script = (
        "import os, sys; from pathlib import Path; from local_cloud.laptop.processes import spawn\n"
        "argv = [sys.executable, '-c', 'import time; time.sleep(600)']\n"
        "child = spawn(argv, env={}, cwd=Path('/'), log=Path(sys.argv[1]))\n"
        "print(child.pid, flush=True); os.kill(os.getpid(), 9)"
    )
    include = Path(__file__).resolve().parents[3] / "include"
    said = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "log")],
        env={"PYTHONPATH": str(include)},
        capture_output=True,
        text=True,
    )
    assert said.returncode == -9
    _wait_until_gone(int(said.stdout))


def test_a_spawned_process_gets_exactly_its_environment_and_its_log(tmp_path: Path) -> None:
    script = "import os, sys; print(sorted(os.environ)); print('to stderr', file=sys.stderr)"
    log = tmp_path / "log"
    spawn([sys.executable, "-c", script], env={"ONLY": "this", "LC_ALL": "C"}, cwd=tmp_path, log=log).wait()
    assert "['LC_ALL', 'ONLY']" in log.read_text()
    assert "to stderr" in log.read_text()
