"""How fast the local Vertex AI answers with 500 jobs in its store: ``python -m tests.benchmarks.local_vertex``.

Requests go one after the other through one connection to one server process, so that a number is the time of one
request and not of a queue. The floor is what the same client needs for a health check in the same run: no route can
be faster than that. A table is printed, then the same as JSON; ``--json FILE`` writes it to a file too.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.local_cloud.filled import JOBS, TEAMS, fill, walk
from tests.local_cloud.services import LocalCloud, running_local_cloud

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx

_PAGE = 100
_PROMPT = {
    "contents": [{"role": "user", "parts": [{"text": "Which shelf holds the red paint?"}]}],
    "generationConfig": {"temperature": 0, "maxOutputTokens": 16},
}


@dataclass(frozen=True)
class Result:
    """What one kind of request took, in milliseconds."""

    name: str
    requests: int
    per_second: float
    p50: float
    p99: float


def measure(name: str, seconds: float, request: Callable[[], object]) -> Result:
    """Repeat a request for some seconds, after a few to warm up."""
    for _ in range(5):
        request()
    times = []
    began = time.perf_counter()
    while time.perf_counter() - began < seconds:
        start = time.perf_counter()
        request()
        times.append(time.perf_counter() - start)
    centiles = statistics.quantiles(times, n=100) if len(times) > 1 else times * 99
    return Result(name, len(times), len(times) / sum(times), centiles[49] * 1000, centiles[98] * 1000)


def run(cloud: LocalCloud, client: httpx.Client, seconds: float) -> list[Result]:
    """Measure everything, and the floor first and last."""
    names = fill(cloud, client)
    jobs = f"/v1/{cloud.parent}/tuningJobs"
    model = f"/v1/{cloud.parent}/publishers/google/models/gemini-2.5-flash"
    team = f'labels.team="{TEAMS[0]}"'

    def get(path: str, **query: str | int) -> None:
        client.get(path, params=query).raise_for_status()

    def prompt() -> None:
        client.post(f"{model}:generateContent", json=_PROMPT).raise_for_status()

    def count() -> None:
        client.post(f"{model}:countTokens", json={"contents": _PROMPT["contents"]}).raise_for_status()

    requests: dict[str, Callable[[], object]] = {
        "floor: GET /_local/health": lambda: get("/_local/health"),
        "get a job": lambda: get(f"/v1/{names[JOBS // 2]}"),
        f"list: first page of {_PAGE}": lambda: get(jobs, pageSize=_PAGE),
        f"list: all pages of {_PAGE}": lambda: walk(client, jobs, _PAGE),
        f"list: {JOBS // len(TEAMS)} of {JOBS} by a label": lambda: get(jobs, pageSize=_PAGE, filter=team),
        "list: none by a label": lambda: get(jobs, pageSize=_PAGE, filter='labels.team="none"'),
        "countTokens": count,
        "generateContent, 16 tokens": prompt,
        "floor again": lambda: get("/_local/health"),
    }
    return [measure(name, seconds, request) for name, request in requests.items()]


def _table(results: list[Result]) -> str:
    lines = [f"{'':36}{'requests/s':>12}{'p50 ms':>10}{'p99 ms':>10}{'requests':>10}"]
    lines += [f"{r.name:36}{r.per_second:12.0f}{r.p50:10.2f}{r.p99:10.2f}{r.requests:10d}" for r in results]
    return "".join(f"{line}\n" for line in lines)


def main() -> None:
    """Start a local cloud, fill it, measure, print."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.local_vertex", description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0, help="per kind of request")
    parser.add_argument("--json", type=Path, help="write the results here too")
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as state,
        running_local_cloud(Path(state)) as cloud,
        cloud.http() as client,
    ):
        results = run(cloud, client, options.seconds)
    document = json.dumps([asdict(result) for result in results], indent=2)
    sys.stdout.write(f"{JOBS} jobs, one server process, one request at a time\n\n{_table(results)}\n{document}\n")
    if options.json:
        options.json.write_text(document + "\n")


if __name__ == "__main__":
    main()
