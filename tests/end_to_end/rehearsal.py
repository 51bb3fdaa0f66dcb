"""The whole of Airflow on a rehearsal stage: its parts may be killed and come back, and each run buys its own job.

``with rehearsal(folder) as stage`` starts a stack whose components are started again when they die. Runs go through it
in parallel: each buys something of its own (``stage.goods()``), in a location of its own where requests are to be
broken, and is judged by what the local Vertex AI wrote down (``stage.jobs(key)``).
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import uuid
from pathlib import Path

import httpx
import psutil
from tests.end_to_end.runs import Run
from tests.end_to_end.service import Goods, Service
from tests.local_cloud.services import read_ready, wait_until

from gemini_tuning.settings import (
    INCLUDE_VARIABLE,
    REHEARSAL_VARIABLE,
    REQUEST_VARIABLE,
    RETRY_VARIABLE,
    SETTLE_VARIABLE,
)
from gemini_tuning.tuning.spec import TuningJobSpec
from local_cloud.laptop.processes import family
from local_cloud.laptop.services import AIRFLOW_COMPONENTS, POOL
from local_cloud.laptop.settings import StackSettings
from local_cloud.laptop.stack import Stack, running_stack
from local_cloud.laptop.state import StackState

PROJECT = Path(__file__).resolve().parents[2]
STAGE = Path(__file__).parent / "stage"
BUCKET = "gemini-tuning-demo"
BASE_MODEL = "gemini-2.5-flash"
LOCATION = "us-central1"
PIPELINE = "tune_rehearsed"
FORM = "tune_on_demand"
TUNE_ONLY = "tune_only"
TUNE_ONLY_RESCHEDULED = "tune_only_rescheduled"
TUNE_ONLY_IMPATIENT = "tune_only_impatient"
DATA = "rehearsal.jsonl"
SUITE = "rehearsal.yaml"
EXAMPLES = 20
BOUGHT_ONCE = ("success", ["SUCCEEDED"], [])
PATIENCE_SECONDS = 500  # of a test for a run; a busy machine takes its time

SETTLE_SECONDS = 5  # longer than a busy machine takes between two steps, or there is nothing left to wait for
REQUEST_SECONDS = 2
QUICKLY_NOTICED = {
    # A dead triggerer's waits are taken over after 10 s. A dead scheduler's tasks after Airflow's usual 30 s, and no
    # sooner: a living one that a busy machine has kept from its heartbeat for so long declares itself dead, and starts
    # all that it has running once more.
    "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "2",
    "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "10",
    "AIRFLOW__SCHEDULER__JOB_HEARTBEAT_SEC": "2",
    "AIRFLOW__SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "2",
    "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "30",
    "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "3",
    # A task whose worker process is gone as well is tried again after a minute, not after five.
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "60",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "5",
    "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
    # Neither two cores nor SQLite, which lets one write at a time, stand more at once.
    "AIRFLOW__CORE__PARALLELISM": "8",
    "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "3",
}


class Rehearsal(Service):
    """A running stage."""

    def __init__(self, stack: Stack, folder: Path) -> None:
        self.stack, self._folder = stack, folder
        super().__init__(read_ready(stack.settings.cloud_dir / "ready.json"))
        self._number = itertools.count(1).__next__
        self._uploaded = _upload(self.cloud, Path(stack.settings.extra_env[INCLUDE_VARIABLE]) / "datasets" / DATA)
        stack.api.patch(f"/pools/{POOL}", {"pool": POOL, "slots": 500, "include_deferred": True})

    # what is bought

    def goods(self, location=LOCATION, **hyperparameters):
        """Something to buy that nothing else buys, unless hyperparameters say what."""
        hyperparameters = {"epochs": 1, **(hyperparameters or {"learning_rate_multiplier": 1 + self._number() / 1000})}
        spec = TuningJobSpec(base_model=BASE_MODEL, training_dataset_uri=self._uploaded["uri"], **hyperparameters)
        key = spec.purchase_key(
            project=self.cloud.project,
            location=location,
            training_sha256=self._uploaded["sha256"],
            validation_sha256=None,
        )
        return Goods({"train": self._uploaded, "validation": None}, hyperparameters, location, key)

    def goods_of_the_pipeline(self):
        """What each run of ``PIPELINE`` buys."""
        return self.goods(epochs=1)

    def own_location(self):
        """A location for one run alone, so that a fault strikes its requests only."""
        return f"rehearsal-{self._number()}"

    def start(self, dag_id, goods, *, kill_at=(), fate=None, **conf):
        """Trigger a run.

        :param kill_at: marks at which its task is to be killed, once each.
        :param fate: what becomes of the job it creates, as in ``fate``.
        :param conf: further settings of the run.
        """
        run_id = f"r-{uuid.uuid4().hex[:12]}"
        if fate:
            self.fate(run_id, **fate)
        for mark in kill_at:
            self.arm(run_id, mark)
        return Run(self.stack, dag_id, self._conf(dag_id, goods) | conf, run_id=run_id, paused=False)

    def _conf(self, dag_id, goods):
        if dag_id == PIPELINE:
            return {}
        if dag_id == FORM:
            form = {"train": DATA, "bucket": BUCKET, "location": goods.location, "smoke_suite": SUITE}
            return form | goods.hyperparameters
        return {"datasets": goods.datasets, "hyperparameters": goods.hyperparameters, "location": goods.location}

    def outcome(self, run, goods, seconds=PATIENCE_SECONDS):
        """What became of a run: its state, how the jobs ended that were bought, and those that still run."""
        state = run.wait(seconds)
        return (
            state,
            [job["state"].removeprefix("JOB_STATE_") for job in self.bought(goods.key)],
            self.living(goods.key),
        )

    # who dies

    def arm(self, run_id, mark):
        """Have the next task of a run that reaches a mark killed there."""
        path = self._folder / run_id / mark
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()

    def armed(self, run_id):
        """The marks that no task of the run has reached yet."""
        return sorted(path.name for path in (self._folder / run_id).glob("*"))

    def pid(self, component):
        return StackState.read(self.stack.settings.state_file).pids[component]

    def kill(self, component, *, whole=False, along=()):
        """Kill a component with SIGKILL and return once another one runs in its place.

        :param whole: with everything it started, as systemd and Kubernetes do; else its children are left behind.
        :param along: further processes to die with it.
        """
        pid = self.pid(component)
        kill_at_once({*(family(pid) if whole else {pid}), *along})
        wait_until(lambda: self.pid(component) != pid, 30, f"the {component} to be started again")

    def processes(self, run, task_id="tune"):
        """The process of a running task, and the worker process that looks after it."""
        pid = run.task(task_id)["pid"]
        return pid, psutil.Process(pid).ppid()

    def kill_task(self, run, task_id="tune", *, whole=False):
        """Kill the process of a running task.

        :param whole: with the worker process that looks after it, as when its machine dies.
        """
        kill_at_once(self.processes(run, task_id)[: 2 if whole else 1])

    def second(self, component):
        """Start one more of a component; it ends with the stage."""
        log = self.stack.settings.logs / f"second-{component}.log"
        with log.open("ab") as output:
            return subprocess.Popen(
                [sys.executable, "-m", "airflow", *AIRFLOW_COMPONENTS[component]],
                env=self.stack.env,
                stdout=output,
                stderr=output,
                cwd=self.stack.settings.root,
            )

    def await_health(self, component):
        """Return once Airflow reports a component as healthy, its API server among them."""

        def healthy():
            with contextlib.suppress(httpx.HTTPError):
                url = f"{self.stack.airflow_url}/api/v2/monitor/health"
                report = httpx.get(url, timeout=5, trust_env=False).json()
                return component == "api-server" or report[component.replace("-", "_")]["status"] == "healthy"
            return False

        wait_until(healthy, 60, f"the {component} to be healthy")


@contextlib.contextmanager
def rehearsal(folder, *, root=PROJECT, extra_env=None, cloud_options=()):
    """Start a stage and end all of it afterwards.

    :param folder: everything it writes goes there.
    :param extra_env: further variables for Airflow's processes, such as another settle time.
    :param cloud_options: further options for ``python -m local_cloud``.
    """
    folder = Path(folder)
    include, dags, marks = folder / "include", folder / "dags", folder / "marks"
    _lay_out(root, include, dags)
    settings = StackSettings(
        root=root,
        state_dir=folder / "state",
        dags_folder=dags,
        buckets=(BUCKET,),
        restart=True,
        extra_env={
            INCLUDE_VARIABLE: str(include),
            REHEARSAL_VARIABLE: str(marks),
            SETTLE_VARIABLE: str(SETTLE_SECONDS),
            REQUEST_VARIABLE: str(REQUEST_SECONDS),
            RETRY_VARIABLE: "1",
            "PYTHONPATH": os.pathsep.join([str(STAGE), str(root / "plugins")]),  # policies, and the package of `root`
            **QUICKLY_NOTICED,
            **(extra_env or {}),
        },
        # a job lives for long enough to be seen alive by a task that was killed and comes back
        cloud_options=("--pending-seconds", "6", *cloud_options),
    )
    with running_stack(settings) as stack:
        wait_until(lambda: stack.api.find(f"/dags/{TUNE_ONLY}") is not None, 60, "the Dags to be read")
        # the first request of a task has the API server prepare itself, which stops all others for seconds
        httpx.get(f"{stack.airflow_url}/execution/health", timeout=120, trust_env=False)
        yield Rehearsal(stack, marks)


def _lay_out(root, include, dags):
    shutil.copytree(root / "include", include, ignore=shutil.ignore_patterns("local_cloud", "datasets", "pipelines"))
    (include / "datasets").mkdir()
    (include / "pipelines").mkdir()
    lines = (root / "include" / "datasets" / "support_replies" / "train.jsonl").read_text().splitlines(keepends=True)
    (include / "datasets" / DATA).write_text("".join(lines[:EXAMPLES]))
    pipeline = {
        "name": PIPELINE.removeprefix("tune_"),
        "bucket": BUCKET,
        "base_model": BASE_MODEL,
        "train": DATA,
        "smoke_suite": SUITE,
        "hyperparameters": {"epochs": 1},
        "wait": {"poll_interval_seconds": 1},
    }
    (include / "pipelines" / "rehearsed.yaml").write_text(json.dumps(pipeline))
    answers = {"description": "it answers", "prompt": "Hello", "assert": [{"type": "not-equals", "value": "-"}]}
    (include / "smoke_tests" / SUITE).write_text(json.dumps({"tests": [answers]}))
    shutil.copytree(root / "dags", dags, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(STAGE / "short_pipelines.py", dags)


def _upload(cloud, file):
    """Put the dataset where the short Dags find it; return it as ``UploadedDataset``."""
    blob = cloud.storage().bucket(BUCKET).blob(f"short/{DATA}")
    blob.upload_from_string(file.read_bytes())
    return {
        "uri": f"gs://{BUCKET}/{blob.name}",
        "generation": blob.generation,
        "crc32c": blob.crc32c,
        "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
        "bytes": blob.size,
        "reused": False,
    }


def kill_at_once(pids):
    """Kill processes; one that is gone already was to die anyway."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
