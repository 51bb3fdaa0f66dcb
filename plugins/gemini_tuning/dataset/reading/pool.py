"""Check ranges of one file in several processes, results in order; in this one where others can't be started."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from queue import SimpleQueue

import msgspec

from gemini_tuning.dataset.lines.rules import Rules
from gemini_tuning.dataset.reading.scanning import Explainer, Scanned, Scanner
from gemini_tuning.dataset.reading.worker import Task, receive, scan, send

_LOG = logging.getLogger(__name__)
_PACKAGES = Path(__file__).resolve().parents[3]  # the folder that holds the package
_WAITING_PER_PROCESS = 2
_decode_answer = msgspec.msgpack.Decoder(Scanned).decode


class Process:
    """A child process that scans, or this one in its place once the child is gone."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._scanner = Scanner(rules)
        self._fresh = True
        self._stopped = False
        self._child: subprocess.Popen[bytes] | None = None
        path = os.pathsep.join(filter(None, (str(_PACKAGES), os.environ.get("PYTHONPATH"))))
        try:
            self._child = subprocess.Popen(
                [sys.executable, "-m", "gemini_tuning.dataset.reading.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env={**os.environ, "PYTHONPATH": path},
            )
        except (OSError, ValueError, TypeError) as error:  # an embedded interpreter has no executable
            _LOG.warning("Checking in one process: no other could be started (%s).", error)

    def scan(self, task: Task) -> Scanned:
        """Return what a range holds."""
        if self._child is not None:
            try:
                return self._ask(self._child, task)
            except (OSError, EOFError, ValueError, msgspec.MsgspecError) as error:
                if self._stopped:
                    raise
                _LOG.warning("Checking goes on in one process: another ended (%s).", error)
                self._end()
        return scan(task, self._scanner)

    def _ask(self, child: subprocess.Popen[bytes], task: Task) -> Scanned:
        if child.stdin is None or child.stdout is None:
            raise OSError("no pipes")
        send(child.stdin, msgspec.structs.replace(task, rules=self._rules) if self._fresh else task)  # type: ignore[arg-type]
        self._fresh = False
        payload = receive(child.stdout)  # type: ignore[arg-type]
        if not payload:
            raise EOFError("it closed its output")
        return _decode_answer(payload)

    def close(self) -> None:
        """End the child process; what it was asked for is not wanted any more."""
        self._stopped = True
        self._end()

    def _end(self) -> None:
        child, self._child = self._child, None
        if child is None:
            return
        child.kill()
        child.wait()
        for pipe in (child.stdin, child.stdout):
            if pipe is not None:
                with suppress(OSError, ValueError):  # another thread may be reading from it
                    pipe.close()


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
        for _ in range(processes):
            process = Process(rules)
            stack.callback(process.close)  # before the threads are joined: one may wait for an answer
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
