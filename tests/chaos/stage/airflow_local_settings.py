"""Airflow's cluster policy for chaos: many runs at once, and tasks that start sooner.

The scheduler forks its tasks: what it has imported need not be imported by each of them.
"""

from __future__ import annotations

import importlib
import sys

IMPORTED_ONCE = ("google.cloud.storage", "google.genai.tunings", "airflow.providers.google.common.hooks.base_google")

if "scheduler" in sys.argv:
    for _name in IMPORTED_ONCE:
        importlib.import_module(_name)


def dag_policy(dag):
    """Let every run start, whatever its pipeline allows."""
    dag.max_active_runs = 500
    dag.max_active_tasks = 500
