"""Measure the dataset check against a floor: ``python tests/benchmarks/validate.py [LINES]``, by hand.

The floor is ``orjson.loads`` on every line, read and decoded in one process, measured before and after each run. CPU is
that of this process and of the children it started; every run is a process of its own, so that its peak memory is its
own too. On a shared machine read the ratios of CPU, and the best of a few runs for wall time.
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

import orjson
from msgspec import UNSET

from gemini_tuning.dataset.check import check_dataset
from gemini_tuning.dataset.lines.accept import PAIR_OVERHEAD, PAIR_STRINGS, may_have_twins
from gemini_tuning.dataset.lines.shapes import UNREADABLE, decode_pair
from gemini_tuning.dataset.options import Checks
from gemini_tuning.tuning.models import ModelTable

LINES = 1_000_000
REPEATS = 3
# what the check is held to: CPU, and wall time on two cores, both as ratios to the floor
BUDGET = {
    "accept path": (1.0, None),
    "whole, all good": (1.6, 1.1),
    "whole, 1% bad": (2.5, None),
    "whole, 50% bad": (10, None),
    "second reading": (6, None),  # beyond the first
}
MEMORY = 300  # MiB


def write(path: Path, lines: int, bad: float) -> None:
    """Write short examples of one question and one answer (median about 300 bytes), some of them bad."""
    rng = random.Random(7)
    words = ["".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=rng.randint(2, 9))) for _ in range(3000)]
    words += ["naïve", "größe", '"so"', "line\nbreak"]

    def text(count: int) -> str:
        return " ".join(rng.choices(words, k=count)).capitalize() + "."

    with path.open("w", encoding="utf-8") as stream:
        for number in range(lines):
            parts = [{"text": f"{text(rng.randint(5, 25))} #{number}"}], [{"text": text(rng.randint(5, 25))}]
            turns = [{"role": role, "parts": part} for role, part in zip(("user", "model"), parts, strict=True)]
            if rng.random() < bad:
                damage(turns, rng)
            compact = rng.random() < 0.5
            stream.write(
                json.dumps({"contents": turns}, ensure_ascii=False, separators=(",", ":") if compact else None)
            )
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
    """Only accept: shape, order of turns, blank texts, keys that stand twice."""
    accepted = 0
    with path.open("rb", buffering=1024 * 1024) as stream:
        for line in stream:
            try:
                pair = decode_pair(line)
            except UNREADABLE:
                continue
            user, model = pair.contents
            (asked,), (said,) = user.parts, model.parts
            prompt, answer = asked.text, said.text
            if prompt.isspace() or answer.isspace():
                continue
            if len(line) - len(prompt) - len(answer) > PAIR_OVERHEAD:
                if pair.systemInstruction is not UNSET:
                    continue
                if line.count(b'"') != 2 * PAIR_STRINGS and may_have_twins(line, PAIR_STRINGS):
                    continue
            accepted += 1


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


def twice(path: Path) -> None:
    """Check the file, and look for near-duplicates and the like."""
    whole(path, second_reading=True)


RUNS: dict[str, Callable[[Path], None]] = {"floor": floor, "accept": accept, "whole": whole, "twice": twice}


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


def main() -> None:
    """Write the files, measure, print the table."""
    lines = int(sys.argv[1]) if len(sys.argv) > 1 else LINES
    say(f"{lines:,} short lines, best of {REPEATS}; floor: orjson.loads on every line, one process")
    say(f"memory: at most {MEMORY} MiB")
    say(f"{'run':<18}{'CPU s':>8}{'× floor':>9}{'budget':>8}{'wall s':>8}{'× floor':>9}{'budget':>8}{'MiB':>6}")
    with tempfile.TemporaryDirectory() as folder:
        for title, name, bad in (
            ("accept path", "accept", 0.0),
            ("whole, all good", "whole", 0.0),
            ("whole, 1% bad", "whole", 0.01),
            ("whole, 50% bad", "whole", 0.5),
            ("second reading", "twice", 0.0),
        ):
            path = Path(folder) / f"{bad}.jsonl"
            if not path.exists():
                write(path, lines, bad)
            base, (cpu, wall, peak) = measure("floor", path), measure(name, path)
            after = measure("floor", path)
            base = [min(pair) for pair in zip(base, after, strict=True)]
            if name == "twice":
                first = measure("whole", path)
                cpu, wall = cpu - first[0], wall - first[1]
            most_cpu, most_wall = BUDGET[title]
            say(
                f"{title:<18}{cpu:>8.2f}{cpu / base[0]:>9.2f}{most_cpu:>8}"
                f"{wall:>8.2f}{wall / base[1]:>9.2f}{most_wall or '':>8}{peak:>6.0f}"
            )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--run"]:
        timed(sys.argv[2], Path(sys.argv[3]))
    else:
        main()
