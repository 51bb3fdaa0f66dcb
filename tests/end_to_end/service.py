"""The local Vertex AI as a rehearsal sees it: what it is told to do, and the ledger that everything is judged by."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

import httpx
from tests.local_cloud.services import ENDED, LocalCloud

from gemini_tuning.tuning.spec import ATTEMPT_LABEL, KEY_LABEL, RUN_LABEL


@dataclass(frozen=True)
class Goods:
    """What a run buys.

    :param datasets: ``UploadedDatasets`` as JSON.
    :param key: the purchase key.
    """

    datasets: dict
    hyperparameters: dict
    location: str
    key: str


class Service:
    """Breaks requests, scripts fates, and reads the ledger.

    :param cloud: the local cloud.
    """

    def __init__(self, cloud: LocalCloud) -> None:
        self.cloud = cloud

    def fault(self, location, path="", **fault):
        """Break the next request to a location."""
        return self.cloud.control("POST", "faults", {"path": f"/locations/{location}/{path}", **fault})["id"]

    def fate(self, run_id, **scenario):
        """Script what becomes of the next job of a run."""
        self.cloud.control("POST", "scenarios", {"labels": {RUN_LABEL: run_id}, **scenario})

    def settings(self, **behaviour):
        self.cloud.control("PATCH", "settings", behaviour)

    def plant(self, goods, state, *, attempt=1, **fields):
        """Put a job into the service as if somebody had bought it; it stays in its state until it is cancelled."""
        parent = f"projects/{self.cloud.project}/locations/{goods.location}"
        name = f"{parent}/tuningJobs/{uuid.uuid4().int % 10**18}"
        labels = {KEY_LABEL: goods.key, ATTEMPT_LABEL: str(attempt)}
        job = {"name": name, "state": f"JOB_STATE_{state}", "labels": labels, **fields}
        return self.cloud.control("POST", "jobs", job)["name"]

    def all_jobs(self):
        return self.cloud.control("GET", "jobs")["jobs"]

    def jobs(self, key):
        """Every job there ever was under a purchase key, in the order of their creation."""
        return [job for job in self.all_jobs() if job["labels"].get(KEY_LABEL) == key]

    def bought(self, key):
        """Those of them that somebody asked for and would pay."""
        return [job for job in self.jobs(key) if not job["planted"]]

    def living(self, key=None):
        """The jobs that have not ended."""
        return [job for job in (self.jobs(key) if key else self.all_jobs()) if job["state"] not in ENDED]

    def requests(self, location, **filters):
        """The API requests to a location, oldest first; filter by ``method``, ``status``, ``after``."""
        query = {"path": f"/locations/{location}/", **filters}
        return httpx.get(f"{self.cloud.vertex_url}/_local/requests", params=query, trust_env=False).json()
