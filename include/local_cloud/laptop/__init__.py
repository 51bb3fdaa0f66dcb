"""The whole installation on a laptop: the local cloud and a real Airflow, started, watched and ended together.

``python -m local_cloud.laptop`` is the command line behind the Makefile; tests use ``running_stack``.
"""

from __future__ import annotations

from local_cloud.laptop.airflow_api import AirflowApi, AirflowApiError
from local_cloud.laptop.settings import StackSettings, project_settings
from local_cloud.laptop.stack import Stack, attach, running_stack, start_detached, stop
from local_cloud.laptop.supervisor import StackError

__all__ = [
    "AirflowApi",
    "AirflowApiError",
    "Stack",
    "StackError",
    "StackSettings",
    "attach",
    "project_settings",
    "running_stack",
    "start_detached",
    "stop",
]
