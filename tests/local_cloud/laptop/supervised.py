"""A stand-in for ``supervise``: the real supervisor over components that are quick to start and hard to end."""

from __future__ import annotations

import sys
import time

from local_cloud.laptop.environment import base_environment
from local_cloud.laptop.settings import StackSettings
from local_cloud.laptop.supervisor import Supervisor

# A component like Airflow's scheduler: workers of its own, in process groups of their own, deaf to SIGINT.
COMPONENT = """
import os, signal, time
for _ in range(2):
    if os.fork() == 0:
        os.setpgid(0, 0)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        time.sleep(600)
        os._exit(0)
time.sleep(600)
"""


def start(supervisor: Supervisor) -> dict[str, str]:
    """Start what the first argument names."""
    environment = base_environment(supervisor.settings)
    what = sys.argv[1]
    for name in ("local-cloud", "scheduler"):
        supervisor.spawn(name, [sys.executable, "-c", COMPONENT], environment)
    if what == "never-ready":
        supervisor.wait_for(lambda: False, what="a miracle", seconds=600, log="scheduler")
    if what == "late":
        supervisor.wait_for(lambda: False, what="a miracle", seconds=0.2, log="scheduler")
    if what == "ending":
        supervisor.spawn("triggerer", [sys.executable, "-c", "print('no room'); raise SystemExit(7)"], environment)
    if what == "migration":
        supervisor.run_once("migration", [sys.executable, "-c", "raise SystemExit('bad')"], environment, seconds=60)
    if what == "bug":
        raise KeyError("a bug")
    return {"airflow_url": "http://127.0.0.1:1", "started": str(time.time())}


if __name__ == "__main__":
    sys.exit(Supervisor(StackSettings.from_json(sys.argv[2])).run(start))
