"""The commands of the local cloud's README, as they are pasted into a terminal beside a running one."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
from tests.local_cloud.services import BUCKET, INCLUDE, LocalCloud, running_local_cloud

if TYPE_CHECKING:
    from collections.abc import Iterator

README = (INCLUDE / "local_cloud" / "README.md").read_text(encoding="utf-8")
BLOCKS = [
    "\n".join(re.findall(r"^\$ (.*)", block, re.MULTILINE))
    for block in re.findall(r"```console\n(.*?)```", README, re.DOTALL)
]
START, VARIABLES, REDIRECT, SETTINGS = BLOCKS
CLIENTS = dict(re.findall(r"^\| (google-\w[\w-]*|curl) \| `([^`]+)`", README, re.MULTILINE))
(SCRIPT,) = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
SOMEONE = "projects/801452371447/locations/us-central1"
_FOREIGN = re.compile(r"GOOGLE_|STORAGE_|PYTHONPATH$|\w+_PROXY$", re.IGNORECASE)

USES = {
    "google-genai": ("from google import genai", "print(len(list(client.tunings.list())))"),
    "google-cloud-aiplatform": (
        "import os; from google.cloud import aiplatform",
        "print(len(aiplatform.Model.list()))",
    ),
    "google-cloud-storage": ("from google.cloud import storage", "print(*(b.name for b in client.list_buckets()))"),
}
UNCHANGEABLE = """
from google import genai
from google.genai.types import HttpOptions

client = genai.Client(http_options=HttpOptions(api_version="v1"))
print(len(list(client.tunings.list())))
"""


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCloud]:
    state = tmp_path_factory.mktemp("documented")
    with running_local_cloud(state, require_token=False) as running:
        running.control("POST", "jobs", {"name": f"{running.parent}/tuningJobs/1"})
        yield running


@pytest.fixture
def project(cloud: LocalCloud, tmp_path: Path) -> Path:
    """A directory that looks like this project's, with the ready file in it."""
    (tmp_path / ".venv").symlink_to(sys.prefix)
    (tmp_path / "include").symlink_to(INCLUDE)
    (tmp_path / "ready.json").symlink_to(Path(cloud.credentials_path).with_name("ready.json"))
    return tmp_path


def pasted(project: Path, *commands: str) -> str:
    """Paste commands into a fresh shell and return what they print."""
    kept = {name: value for name, value in os.environ.items() if not _FOREIGN.match(name)}
    outcome = subprocess.run(
        ["bash", "-e"],
        input="\n".join(commands),
        cwd=project,
        env=kept,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert outcome.returncode == 0, outcome.stderr
    return outcome.stdout.strip()


@pytest.mark.parametrize("client", USES)
def test_a_client_is_made_as_the_table_says(project: Path, client: str) -> None:
    imports, use = USES[client]
    (project / "try.py").write_text("\n".join((imports, CLIENTS[client], use)))
    printed = pasted(project, VARIABLES, ".venv/bin/python try.py")
    assert printed == (BUCKET if client == "google-cloud-storage" else "1")


def test_curl_lists_jobs(project: Path) -> None:
    assert len(json.loads(pasted(project, VARIABLES, CLIENTS["curl"]))["tuningJobs"]) == 1


def test_a_script_that_cannot_be_changed_is_led_here(project: Path) -> None:
    (project / "script.py").write_text(UNCHANGEABLE)
    assert pasted(project, VARIABLES, REDIRECT) == "1"


def test_settings_are_changed_and_changes_forgotten(project: Path, cloud: LocalCloud) -> None:
    before = cloud.control("GET", "settings")
    change, forget = SETTINGS.splitlines()
    assert json.loads(pasted(project, VARIABLES, change)) == {**before, "quota": 1, "over_quota": "refuse"}
    assert json.loads(pasted(project, VARIABLES, forget)) == before


def test_it_is_started_as_it_says(project: Path) -> None:
    """A wrong flag would be refused at once."""
    assert START.startswith(".venv/bin/python -m local_cloud ")
    assert "--ready-file" in pasted(project, f"PYTHONPATH=include {START} --help")


def test_its_planted_jobs_are_those_that_googles_tests_look_for(tmp_path: Path) -> None:
    script = tmp_path / "script.yaml"
    script.write_text(SCRIPT)
    flags = {"script": script, "require_token": False, "sample_for_missing_datasets": True}
    with (
        running_local_cloud(tmp_path / "state", **flags) as cloud,
        httpx.Client(base_url=cloud.vertex_url, trust_env=False, timeout=60) as client,
    ):
        cloud.control("DELETE", "faults")
        jobs = [job["name"] for job in cloud.control("GET", "jobs")["jobs"]]
        assert f"{SOMEONE}/tuningJobs/4303478340632707072" in jobs
        pre_tuned = client.get(f"/v1/{SOMEONE}/tuningJobs/8520221517529743360").json()["preTunedModel"]
        model = f"{SOMEONE}/models/9030969596621881344"
        assert (pre_tuned["tunedModelName"], pre_tuned["checkpointId"]) == (f"{model}@1", "3")
        metrics = client.get("/v1/projects/801452371447/locations/us/tuningJobs/8841410493458415616").json()
        assert metrics["gcsMetricsUri"]
        body = {
            "preTunedModel": {"tunedModelName": model, "checkpointId": "3"},
            "supervisedTuningSpec": {"trainingDatasetUri": "gs://theirs/train.jsonl"},
        }
        continued = client.post(f"/v1/{SOMEONE}/tuningJobs", json=body).raise_for_status().json()
        assert continued["preTunedModel"]["checkpointId"] == "3"
