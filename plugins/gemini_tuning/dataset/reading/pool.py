"""Check ranges of one file in several processes, results in order; in this one where others can't be started."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from itertools import repeat
from queue import SimpleQueue
from typing import BinaryIO, NamedTuple

import msgspec

from gemini_tuning.dataset.lines.rules import Rules
from gemini_tuning.dataset.reading.scanning import Explainer, Scanned, Scanner
from gemini_tuning.dataset.reading.worker import Task, receive, scan, send

_LOG = logging.getLogger(__name__)
_START = """
import os, sys
sys.path[:] = sys.argv.pop(1).split(os.pathsep)
from gemini_tuning.dataset.reading.worker import main
main()
"""
_WAITING_PER_PROCESS = 2
_SECONDS_TO_END = 10
_decode_answer = msgspec.msgpack.Decoder(Scanned).decode


class Lane(NamedTuple):
    """Both ends here of what leads to one child process."""

    requests: BinaryIO
    answers: BinaryIO

    def close(self) -> None:
        """Let the child process end."""
        for pipe in self:
            with suppress(OSError, ValueError):  # another thread may be reading from it
                pipe.close()


@contextmanager
def started(count: int) -> Iterator[list[Lane]]:
    """Start processes and end them; none where that isn't possible. All but one are forks of the first."""
    child, lanes = None, []
    with ExitStack() as theirs:
        try:
            ends: list[int] = []
            for _ in range(count):
                (taken, given), (read, written) = _pipe(theirs), _pipe(theirs)
                lanes.append(Lane(os.fdopen(os.dup(given), "wb"), os.fdopen(os.dup(read), "rb")))
                ends += [taken, written]
            child = subprocess.Popen(
                # -P: nothing is to be imported from the folder that somebody happens to stand in
                [sys.executable, "-P", "-c", _START, os.pathsep.join(sys.path), *map(str, ends)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=ends,
                process_group=0,
            )
        except (OSError, ValueError, TypeError) as error:  # an embedded interpreter has no executable
            _LOG.warning("Checking in one process: no other could be started (%s).", error)
    try:
        yield lanes if child is not None else []
    except BaseException:
        _kill(child)
        raise
    finally:
        for lane in lanes:
            lane.close()
        if child is not None:
            try:
                child.wait(_SECONDS_TO_END)
            except subprocess.TimeoutExpired:
                _kill(child)
                child.wait()


def _pipe(stack: ExitStack) -> tuple[int, int]:
    """Return both ends of a pipe that the stack closes."""
    ends = os.pipe()
    for end in ends:
        stack.callback(os.close, end)
    return ends


def _kill(child: subprocess.Popen[bytes] | None) -> None:
    """End a process and its forks; they would end by themselves, but after what they are doing."""
    if child is not None:
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)


class Process:
    """A child process that scans, or this one in its place once the child is gone."""

    def __init__(self, rules: Rules, lane: Lane | None) -> None:
        self._rules = rules
        self._scanner = Scanner(rules)
        self._lane = lane
        self._fresh = True
        self._stopped = False

    def stop(self) -> None:
        """What it was asked for is not wanted any more."""
        self._stopped = True

    def scan(self, task: Task) -> Scanned:
        """Return what a range holds."""
        if self._lane is not None:
            try:
                return self._ask(self._lane, task)
            except (OSError, EOFError, ValueError, msgspec.MsgspecError) as error:
                if self._stopped:
                    raise
                _LOG.warning("Checking goes on in one process: another ended (%s).", error)
                self._lane = None
        return scan(task, self._scanner)

    def _ask(self, lane: Lane, task: Task) -> Scanned:
        send(lane.requests, msgspec.structs.replace(task, rules=self._rules) if self._fresh else task)
        self._fresh = False
        payload = receive(lane.answers)
        if not payload:
            raise EOFError("it closed its output")
        return _decode_answer(payload)


def scan_all(tasks: Iterable[Task], rules: Rules, processes: int) -> Iterator[Scanned]:
    """Yield what each range holds, in order; only a few ranges are held in memory at a time.

    :param tasks: ranges of one file in their order.
    :param processes: how many child processes take part; 0 = none.
    """
    if processes == 0:
        scanner = Scanner(rules)
        for task in tasks:
            yield scan(task, scanner)
        return
    with ExitStack() as stack:
        threads = ThreadPoolExecutor(processes, thread_name_prefix="dataset-check")
        stack.callback(threads.shutdown, cancel_futures=True)
        idle: SimpleQueue[Process] = SimpleQueue()
        lanes = stack.enter_context(started(processes))  # ended before the threads are joined: one may wait for it
        for lane in lanes or repeat(None, processes):
            process = Process(rules, lane)
            stack.callback(process.stop)
            idle.put(process)

        def run(task: Task) -> Scanned:
            process = idle.get()
            try:
                return process.scan(task)
            finally:
                idle.put(process)

        explainer = Explainer(rules)
        waiting: deque[Future[Scanned]] = deque()

        def next_() -> Scanned:
            scanned = waiting.popleft().result()
            explainer.explain(scanned)
            return scanned

        for task in tasks:
            if len(waiting) >= processes * _WAITING_PER_PROCESS:
                yield next_()
            waiting.append(threads.submit(run, task))
        while waiting:
            yield next_()
