"""Buying from a local Vertex AI over HTTP, whose ledger tells what was paid for."""

from __future__ import annotations

import json
import re
import uuid

from gemini_tuning.tuning.buying import RECORD_NAME, Buyer
from gemini_tuning.tuning.client import vertex_client
from gemini_tuning.tuning.purchase import Order, Patience, PurchaseRecord
from gemini_tuning.tuning.service import TuningService
from gemini_tuning.tuning.spec import ATTEMPT_LABEL, KEY_LABEL, OWNER_LABEL, TuningJobSpec

LAG = 0.4
PATIENCE = Patience(settle_seconds=0.7, request_seconds=0.3)


class Died(BaseException):
    """The process was killed at a mark."""


def dies_at(mark):
    def reached(here):
        if here is mark:
            raise Died

    return reached


class Memory(dict):
    """Records that outlive a process, as JSON text."""

    def get(self, name):
        return json.loads(super().get(name, "null"))

    def set(self, name, value):
        self[name] = json.dumps(value)

    @property
    def record(self):
        return PurchaseRecord.from_json(self.get(RECORD_NAME))


def nothing(*_):
    """Let a purchase go on."""


class Shop:
    """A local Vertex AI whose new jobs wait in PENDING until somebody cancels them, and its ledger for one key."""

    def __init__(self, cloud, uri):
        self.cloud, self.uri = cloud, uri
        self.key = uuid.uuid4().hex
        self.service = self.new_service()

    def new_service(self, **options):
        cloud = self.cloud
        return TuningService(vertex_client(cloud.credentials(), cloud.project, cloud.location, **options))

    def order(self, owner="me", *, claim="1", key=None, **fields):
        spec = TuningJobSpec(
            base_model="gemini-2.5-flash", training_dataset_uri=self.uri, epochs=1, labels={OWNER_LABEL: owner}
        )
        return Order(spec=spec, key=key or self.key, claim=claim, **fields)

    def buy(
        self,
        memory,
        owner="me",
        *,
        reached=nothing,
        service=None,
        patience=PATIENCE,
        check=nothing,
        **fields,
    ):
        """Buy as a process that knows nothing but its memory."""
        service = service or self.new_service()
        return Buyer(service, memory, patience, reached=reached, check=check).buy(self.order(owner, **fields))

    def jobs(self, key=None):
        ledger = self.cloud.control("GET", "jobs")["jobs"]
        return [job for job in ledger if job["labels"].get(KEY_LABEL) == (key or self.key)]

    def states(self):
        return sorted(job["state"].removeprefix("JOB_STATE_") for job in self.jobs())

    def plant(self, state, *, attempt=1, owner="somebody", **fields):
        labels = {KEY_LABEL: self.key, ATTEMPT_LABEL: str(attempt), OWNER_LABEL: owner}
        name = f"{self.cloud.parent}/tuningJobs/{uuid.uuid4().int % 10**18}"
        planted = {"name": name, "state": f"JOB_STATE_{state}", "labels": labels} | fields
        return self.cloud.control("POST", "jobs", planted)["name"]

    def settle(self, **settings):
        self.cloud.control("PATCH", "settings", settings)

    def fault(self, **fields):
        self.cloud.control("POST", "faults", {"method": "POST", "path": "tuningJobs$", **fields})

    def requests(self, method="POST", path="tuningJobs$"):
        log = self.cloud.requests()
        return [entry for entry in log if entry["method"] == method and re.search(path, entry["path"])]
