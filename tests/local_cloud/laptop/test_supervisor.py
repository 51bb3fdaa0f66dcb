from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from local_cloud.laptop.environment import cloud_environment
from local_cloud.laptop.processes import end_marked, marked
from local_cloud.laptop.settings import StackSettings
from local_cloud.laptop.state import StackState, is_locked
from local_cloud.laptop.supervisor import ALREADY_RUNNING, last_words

STAND_IN = Path(__file__).with_name("supervised.py")
COMPONENTS_AND_WORKERS = 6

Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def settings(tmp_path: Path) -> StackSettings:
    return StackSettings(root=tmp_path, state_dir=tmp_path / "state")


@pytest.fixture
def start(settings: StackSettings) -> Iterator[Start]:
    started: list[subprocess.Popen[bytes]] = []

    def start(what: str, settings: StackSettings = settings) -> subprocess.Popen[bytes]:
        argv = [sys.executable, str(STAND_IN), what, settings.to_json()]
        process = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, env=cloud_environment(settings)
        )
        started.append(process)
        return process

    yield start
    end_marked(str(settings.state_dir), grace=0)
    for process in started:
        if process.stdin:
            process.stdin.close()
        process.wait()


def _wait_for(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.02)


def _phase(settings: StackSettings) -> str:
    state = StackState.read(settings.state_file)
    return state.phase if state else "none"


def _pids(settings: StackSettings) -> dict[str, int]:
    state = StackState.read(settings.state_file)
    return state.pids if state else {}


def _members(settings: StackSettings, supervisor: subprocess.Popen[bytes]) -> list[int]:
    return [process.pid for process in marked(str(settings.state_dir)) if process.pid != supervisor.pid]


def _started(settings: StackSettings, supervisor: subprocess.Popen[bytes]) -> None:
    _wait_for(lambda: len(_members(settings, supervisor)) == COMPONENTS_AND_WORKERS, "components and workers")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
@pytest.mark.parametrize("what", ["whole", "never-ready"])
def test_a_signal_at_any_moment_leaves_no_process(
    settings: StackSettings, start: Start, what: str, number: signal.Signals
) -> None:
    supervisor = start(what)
    _started(settings, supervisor)
    supervisor.send_signal(number)
    supervisor.send_signal(number)  # impatience changes nothing
    assert supervisor.wait(30) == 0
    assert marked(str(settings.state_dir)) == []
    assert _phase(settings) == "stopped"
    assert not is_locked(settings.lock_file)


@pytest.mark.parametrize("what", ["whole", "never-ready"])
def test_the_stack_ends_when_the_command_that_started_it_is_gone(
    settings: StackSettings, start: Start, what: str
) -> None:
    supervisor = start(what)
    _started(settings, supervisor)
    assert supervisor.stdin
    supervisor.stdin.close()  # what the kernel does when that command is killed
    assert supervisor.wait(30) == 0
    assert marked(str(settings.state_dir)) == []


def test_a_detached_stack_outlives_the_command_that_started_it(settings: StackSettings, start: Start) -> None:
    supervisor = start("whole")
    _started(settings, supervisor)
    _wait_for(lambda: _phase(settings) == "ready", "readiness")
    assert supervisor.stdin
    supervisor.stdin.write(b"detach\n")
    supervisor.stdin.close()

    def detached() -> bool:
        state = StackState.read(settings.state_file)
        return state is not None and state.detached

    _wait_for(detached, "the stack to detach")
    assert supervisor.poll() is None
    assert len(_members(settings, supervisor)) == COMPONENTS_AND_WORKERS


def test_what_a_killed_supervisor_left_behind_is_ended_at_the_next_start(settings: StackSettings, start: Start) -> None:
    killed = start("whole")
    _started(settings, killed)
    killed.kill()
    killed.wait()
    # Its components got the kernel's request to end; their workers, whose ids nobody knows, did not.
    assert marked(str(settings.state_dir)) != []
    assert _phase(settings) in {"starting", "ready"}
    assert not is_locked(settings.lock_file)
    before = set(_members(settings, killed))
    supervisor = start("whole")
    _wait_for(lambda: before.isdisjoint(_members(settings, supervisor)), "the left-overs to end")
    _started(settings, supervisor)


def test_a_second_supervisor_keeps_its_hands_off_a_running_stack(settings: StackSettings, start: Start) -> None:
    first = start("whole")
    _started(settings, first)
    assert start("whole").wait(30) == ALREADY_RUNNING
    assert len(_members(settings, first)) == COMPONENTS_AND_WORKERS
    state = StackState.read(settings.state_file)
    assert state
    assert state.supervisor == first.pid


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("ending", "the triggerer stopped (exit status 7): no room"),
        ("migration", "migration failed (exit status 1): bad"),
        ("late", "waited 0 s for a miracle, in vain"),
        ("bug", "a bug"),
    ],
)
def test_a_failure_takes_everything_down_and_says_which_log_tells_more(
    settings: StackSettings, start: Start, what: str, said: str
) -> None:
    assert start(what).wait(30) == 1
    state = StackState.read(settings.state_file)
    assert state
    assert state.phase == "failed"
    assert said in state.detail
    assert str(settings.logs) in state.detail
    assert marked(str(settings.state_dir)) == []


def test_a_component_that_ends_is_started_again_where_that_is_wanted(settings: StackSettings, start: Start) -> None:
    settings = replace(settings, restart=True)
    supervisor = start("whole", settings)
    _wait_for(lambda: _phase(settings) == "ready", "readiness")
    before = _pids(settings)
    os.kill(before["scheduler"], signal.SIGKILL)
    _wait_for(lambda: _pids(settings)["scheduler"] != before["scheduler"], "another scheduler")
    os.kill(before["local-cloud"], signal.SIGKILL)  # another one would have another address
    assert supervisor.wait(30) == 1
    assert marked(str(settings.state_dir)) == []


def test_the_last_words_of_a_log_are_its_last_line_with_text(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert last_words(log) == "it left no log"
    log.write_text("\n\n")
    assert last_words(log) == "it said nothing"
    log.write_text("first\n  the reason \n\n")
    assert last_words(log) == "the reason"
