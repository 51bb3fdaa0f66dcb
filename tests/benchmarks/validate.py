"""Measure the dataset check against a floor: ``python tests/benchmarks/validate.py [LINES]``, by hand.

The floor is ``orjson.loads`` on every line, read and decoded in one process, measured before and after each run. CPU is
that of this process and of the children it started; every run is a process of its own, so that its peak memory is its
own too. On a shared machine read the ratios of CPU, and the best of a few runs for wall time. Exit status 1 says that
a budget was exceeded; they are for the usual number of lines, among fewer of which starting up weighs more.

The accept path is the real scanner over the ranges of the file in one process, without checksums, a report or
comparisons, and without the keys that prompts are compared by. It counts the characters of each line besides.
"""

from __future__ import annotations

import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TextIO

import orjson

from gemini_tuning.dataset.check import check_dataset
from gemini_tuning.dataset.lines.rules import Rules
from gemini_tuning.dataset.options import Checks
from gemini_tuning.dataset.reading import ranges, scanning
from gemini_tuning.dataset.reading.scanning import Scanner
from gemini_tuning.dataset.reading.worker import scan
from gemini_tuning.tuning.models import ModelTable

LINES = 1_000_000
REPEATS = 3
MEMORY = 300  # MiB


class Case(NamedTuple):
    """A run over a file, and what it is held to: CPU, and wall time on two cores, both as ratios to the floor."""

    title: str
    run: str
    bad: float = 0.0  # share of the lines
    copies: int = 1  # of every line
    cpu: float | None = None
    wall: float | None = None


CASES = (
    Case("accept path", "accept", cpu=1.0),
    Case("whole, all good", "whole", cpu=1.6, wall=1.1),
    Case("whole, 1% bad", "whole", bad=0.01, cpu=2.5),
    Case("whole, 50% bad", "whole", bad=0.5, cpu=10),
    Case("whole, all twice", "whole", copies=2),
    Case("second reading", "again", cpu=6),  # beyond the first
    Case("again, all twice", "again", copies=2),
)


def write(path: Path, lines: int, bad: float, copies: int) -> None:
    """Write short examples of one question and one answer (median about 300 bytes), some of them bad.

    Where every line stands there more than once, it does so far from its copies.
    """
    with path.open("w", encoding="utf-8") as stream:
        for _ in range(copies):
            write_lines(stream, lines // copies, bad)


def write_lines(stream: TextIO, lines: int, bad: float) -> None:
    """Write lines that are the same each time."""
    rng = random.Random(7)
    words = ["".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=rng.randint(2, 9))) for _ in range(3000)]
    words += ["naïve", "größe", '"so"', "line\nbreak"]

    def text(count: int) -> str:
        return " ".join(rng.choices(words, k=count)).capitalize() + "."

    for number in range(lines):
        parts = [{"text": f"{text(rng.randint(5, 25))} #{number}"}], [{"text": text(rng.randint(5, 25))}]
        turns = [{"role": role, "parts": part} for role, part in zip(("user", "model"), parts, strict=True)]
        if rng.random() < bad:
            damage(turns, rng)
        compact = rng.random() < 0.5
        stream.write(json.dumps({"contents": turns}, ensure_ascii=False, separators=(",", ":") if compact else None))
        stream.write("\n" if rng.random() > bad / 8 else "}\n")


def damage(turns: list[dict[str, object]], rng: random.Random) -> None:
    """Make one of the commonest mistakes."""
    match rng.randrange(6):
        case 0:
            turns[1]["role"] = "assistant"
        case 1:
            turns.pop()
        case 2:
            turns[1]["parts"] = [{"text": ""}]
        case 3:
            turns[0]["part"] = turns[0].pop("parts")
        case 4:
            turns.insert(0, turns[0])
        case _:
            turns[1]["weight"] = 1


def floor(path: Path) -> None:
    """Parse every line that can be parsed."""
    with path.open("rb", buffering=1024 * 1024) as stream:
        for line in stream:
            try:  # noqa: SIM105  # suppress() would make the floor half as high again
                orjson.loads(line)
            except orjson.JSONDecodeError:
                pass


def accept(path: Path) -> None:
    """Only accept lines: the scanner without the keys of the prompts."""
    scanning._Range.fold = lambda self: self.pending.clear()  # type: ignore[method-assign]
    scanner = Scanner(Rules())
    for task in ranges.of_file(path, path.stat().st_size):
        scan(task, scanner)


def whole(path: Path, *, second_reading: bool = False) -> None:
    """Check the file as a pipeline does."""
    check_dataset(
        str(path),
        None,
        base_model="gemini-2.5-flash",
        epochs=None,
        models=ModelTable.load(),
        root=None,
        storage=None,  # type: ignore[arg-type]
        checks=Checks(second_reading=second_reading),
    )


def again(path: Path) -> None:
    """Check the file, and look for near-duplicates and the like."""
    whole(path, second_reading=True)


RUNS: dict[str, Callable[[Path], None]] = {"floor": floor, "accept": accept, "whole": whole, "again": again}


def timed(name: str, path: Path) -> None:
    """Print CPU and wall seconds and peak memory of one run, in a process of its own."""
    began, cpu = time.monotonic(), time.process_time()
    RUNS[name](path)
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = time.process_time() - cpu + children.ru_utime + children.ru_stime
    # the children run at the same time; two of them at most
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss + 2 * children.ru_maxrss
    sys.stdout.write(json.dumps([cpu, time.monotonic() - began, peak / 1024]))


def measure(name: str, path: Path) -> list[float]:
    """Return the best CPU and wall seconds of a few runs, and the most memory."""
    runs = []
    for _ in range(REPEATS):
        command = [sys.executable, __file__, "--run", name, str(path)]
        runs.append(json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout))
    return [min(run[0] for run in runs), min(run[1] for run in runs), max(run[2] for run in runs)]


def say(line: str) -> None:
    """Write a line at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> int:
    """Write the files, measure, print the table; return whether something is over its budget."""
    lines = int(sys.argv[1]) if len(sys.argv) > 1 else LINES
    say(f"{lines:,} short lines, best of {REPEATS}; floor: orjson.loads on every line, one process")
    say(f"memory: at most {MEMORY} MiB")
    say(f"{'run':<18}{'CPU s':>8}{'× floor':>9}{'budget':>8}{'wall s':>8}{'× floor':>9}{'budget':>8}{'MiB':>6}")
    exceeded = []
    with tempfile.TemporaryDirectory() as folder:
        for case in CASES:
            path = Path(folder) / f"{case.bad}-{case.copies}.jsonl"
            if not path.exists():
                write(path, lines, case.bad, case.copies)
            base, (cpu, wall, peak) = measure("floor", path), measure(case.run, path)
            after = measure("floor", path)
            base = [min(pair) for pair in zip(base, after, strict=True)]
            if case.run == "again":
                first = measure("whole", path)
                cpu, wall = cpu - first[0], wall - first[1]
            times_cpu, times_wall = cpu / base[0], wall / base[1]
            say(
                f"{case.title:<18}{cpu:>8.2f}{times_cpu:>9.2f}{case.cpu or '':>8}"
                f"{wall:>8.2f}{times_wall:>9.2f}{case.wall or '':>8}{peak:>6.0f}"
            )
            held = (("CPU", times_cpu, case.cpu), ("wall time", times_wall, case.wall), ("memory", peak, MEMORY))
            exceeded += [f"{case.title}: {what}" for what, used, most in held if most is not None and used > most]
    if exceeded:
        say(f"over budget: {'; '.join(exceeded)}")
    return 1 if exceeded else 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["--run"]:
        timed(sys.argv[2], Path(sys.argv[3]))
    else:
        sys.exit(main())
