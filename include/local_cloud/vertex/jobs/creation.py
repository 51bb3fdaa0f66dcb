"""How a tuning job begins: its dataset is fetched, its order written and its fate chosen before it is in the store."""

from __future__ import annotations

import asyncio
import re
import shutil
from typing import TYPE_CHECKING, Any

from local_cloud.vertex.control.script import JobScenario
from local_cloud.vertex.errors import ApiError
from local_cloud.vertex.jobs import dataset
from local_cloud.vertex.jobs.course import first_stage
from local_cloud.vertex.jobs.request import spec_of
from local_cloud.vertex.jobs.store import ENDED
from local_cloud.vertex.names import new_id
from local_cloud.vertex.training.files import TRAINING, VALIDATION, remove_dataset
from local_cloud.vertex.training.order import write_order

if TYPE_CHECKING:
    from pathlib import Path

    from local_cloud.vertex.control.rules import Rules
    from local_cloud.vertex.jobs.request import Draft, JobRequests
    from local_cloud.vertex.jobs.runner import Runner
    from local_cloud.vertex.jobs.store import Job, Store
    from local_cloud.vertex.settings import Settings


class Creation:
    """Creates jobs."""

    def __init__(self, store: Store, requests: JobRequests, rules: Rules, runner: Runner, settings: Settings) -> None:
        self._store = store
        self._requests = requests
        self._rules = rules
        self._runner = runner
        self._settings = settings

    async def create(self, request: dict[str, Any], parent: str) -> Job:
        """Check a canonical request, fetch its dataset, keep the job and let it begin.

        Raises:
            ApiError: the request or its dataset is refused, or the project's quota is used up.
        """
        draft = self._requests.draft(request, parent)
        job_id = new_id()
        directory = self._settings.job_directory(job_id)
        directory.mkdir(parents=True)
        try:
            await asyncio.to_thread(self._prepare, directory, draft)
            self._check_quota(parent)
        except BaseException:
            shutil.rmtree(directory, ignore_errors=True)
            raise
        taken = self._rules.take(JobScenario, lambda rule: _meant_for(rule, draft.document))
        scenario = taken[1] if taken else JobScenario()
        state = f"JOB_STATE_{first_stage(scenario, self._settings.behaviour)}"
        document = {"name": f"{parent}/tuningJobs/{job_id}", **draft.document, "state": state}
        job = self._store.add_job(job_id, parent, document, scenario.model_dump_json())
        self._runner.submit(job)
        return job

    def sweep(self) -> None:
        """Remove what a killed server left: directories of jobs that never came to be, datasets of ended ones."""
        states = {job.id: job.state for job in self._store.all_jobs()}
        for directory in self._settings.jobs_directory.glob("*"):
            if directory.name not in states:
                shutil.rmtree(directory, ignore_errors=True)
            elif states[directory.name] in ENDED:
                remove_dataset(directory)

    def _prepare(self, directory: Path, draft: Draft) -> None:
        spec = draft.document[spec_of(draft.document) or ""]
        method = draft.order.method
        for field, name in (("trainingDatasetUri", TRAINING), ("validationDatasetUri", VALIDATION)):
            if not spec.get(field):
                continue
            try:
                dataset.fetch(self._settings.storage_url, spec[field], directory / name, method)
            except dataset.MissingObjectError:
                if not self._settings.behaviour.sample_for_missing_datasets:
                    raise
                dataset.write_sample(directory / name, method, held_out=name == VALIDATION)
        write_order(directory, draft.order)

    def _check_quota(self, parent: str) -> None:
        behaviour = self._settings.behaviour
        if behaviour.over_quota == "refuse" and self._runner.quota_is_used_up(parent.split("/")[1]):
            metric = "aiplatform.googleapis.com/global_concurrent_tuning_jobs"
            message = f"The following quotas are exceeded: {metric} (limit {behaviour.quota})."
            raise ApiError(429, message)


def _meant_for(rule: JobScenario, document: dict[str, Any]) -> bool:
    model = document.get("baseModel") or document["preTunedModel"]["tunedModelName"]
    return (
        rule.labels.items() <= document.get("labels", {}).items()
        and re.search(rule.display_name, document["tunedModelDisplayName"]) is not None
        and re.search(rule.base_model, model) is not None
    )
