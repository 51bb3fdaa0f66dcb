"""Scripts that can't be changed, and find the local Vertex AI all the same."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from tests.local_cloud.services import INCLUDE, LocalCloud

if TYPE_CHECKING:
    from pathlib import Path

REDIRECT = INCLUDE / "local_cloud" / "redirect"
_FOREIGN = re.compile(r"GOOGLE_|PYTHONPATH$|\w+_PROXY$", re.IGNORECASE)
_PROXY = "http://127.0.0.1:9"
"""Where nothing listens: what is led elsewhere must not go by a proxy."""

GENAI = """
from google import genai
from google.genai.types import HttpOptions

client = genai.Client(http_options=HttpOptions(api_version="v1"))
job = client.tunings.get(name=NAME)
print(job.state.name, len(list(client.tunings.list())) > 0)
print(bool(client.models.generate_content(model=job.tuned_model.endpoint, contents="Hello").candidates))
"""
GENAI_ASYNC = """
import asyncio
from google import genai
from google.genai.types import HttpOptions

async def main():
    client = genai.Client(http_options=HttpOptions(api_version="v1"))
    print((await client.aio.tunings.get(name=NAME)).state.name)

asyncio.run(main())
"""
VERTEXAI = """
import os, vertexai, warnings
from vertexai.tuning import sft

warnings.simplefilter("ignore")
vertexai.init(project=os.environ["GOOGLE_CLOUD_PROJECT"], location="us-central1")
job = sft.SupervisedTuningJob(NAME)
print(job.state.name, job.tuned_model_endpoint_name.rpartition("/")[0])
"""


def run(cloud: LocalCloud, script: str, *first: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a script beside the redirect, in an environment such as its author has."""
    kept = {name: value for name, value in os.environ.items() if not _FOREIGN.match(name)}
    usual = {
        "PYTHONPATH": os.pathsep.join(map(str, (*first, REDIRECT))),
        "LOCAL_VERTEX_URL": cloud.vertex_url,
        "GOOGLE_APPLICATION_CREDENTIALS": cloud.credentials_path,
        "GOOGLE_GENAI_USE_VERTEXAI": "True",
        "GOOGLE_CLOUD_PROJECT": cloud.project,
        "GOOGLE_CLOUD_LOCATION": cloud.location,
        "GOOGLE_VERTEX_BASE_URL": cloud.vertex_url,
        **dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), _PROXY),
    }
    return subprocess.run(
        [sys.executable, "-c", script],
        env={**kept, **usual, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture(scope="module")
def name(local_cloud: LocalCloud) -> str:
    """A job that is there."""
    planted = local_cloud.control("POST", "jobs", {"name": f"{local_cloud.parent}/tuningJobs/8100"})
    return str(planted["name"])


def answered(outcome: subprocess.CompletedProcess[str]) -> list[str]:
    assert outcome.returncode == 0, outcome.stderr
    return outcome.stdout.split()


def hidden(directory: Path, *modules: str) -> Path:
    """A directory that makes modules look as if they were not installed."""
    for module in modules:
        (directory / f"{module}.py").write_text(f"raise ModuleNotFoundError({module!r}, name={module!r})\n")
    return directory


def test_googles_usual_client_is_led_here(local_cloud: LocalCloud, name: str) -> None:
    outcome = run(local_cloud, GENAI.replace("NAME", repr(name)))
    assert answered(outcome) == ["JOB_STATE_SUCCEEDED", "True", "True"]


@pytest.mark.parametrize("missing", [(), ("aiohttp",)])
def test_its_asynchronous_half_too(
    local_cloud: LocalCloud, name: str, tmp_path: Path, missing: tuple[str, ...]
) -> None:
    outcome = run(local_cloud, GENAI_ASYNC.replace("NAME", repr(name)), hidden(tmp_path, *missing))
    assert answered(outcome) == ["JOB_STATE_SUCCEEDED"]


def test_the_older_client_is_led_here_and_speaks_rest(local_cloud: LocalCloud, name: str) -> None:
    outcome = run(local_cloud, VERTEXAI.replace("NAME", repr(name)))
    parent = name.partition("/tuningJobs")[0]
    assert answered(outcome) == ["JOB_STATE_SUCCEEDED", f"{parent}/endpoints"]


@pytest.mark.parametrize("missing", [("httpx",), ("requests",), ("aiohttp", "yarl"), ("grpc",)])
def test_no_library_need_be_there(local_cloud: LocalCloud, tmp_path: Path, missing: tuple[str, ...]) -> None:
    outcome = run(local_cloud, "print('ran')", hidden(tmp_path, *missing))
    assert (answered(outcome), outcome.stderr) == (["ran"], "")


@pytest.mark.parametrize(
    ("call", "error"),
    [
        ("import httpx; httpx.get(URL)", "httpx.ConnectError"),
        ("import requests; requests.get(URL)", "requests.exceptions.ConnectionError"),
        (
            "import aiohttp, asyncio\nasync def get():\n async with aiohttp.ClientSession() as session:\n"
            "  await session.get(URL)\nasyncio.run(get())",
            "aiohttp.client_exceptions.ClientConnectionError",
        ),
        ("import grpc; grpc.secure_channel(URL[8:], grpc.ssl_channel_credentials())", "ConnectionError"),
    ],
)
def test_other_services_of_googles_are_out_of_reach(local_cloud: LocalCloud, call: str, error: str) -> None:
    for proxies in ({}, dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), "")):
        outcome = run(local_cloud, call.replace("URL", repr("https://storage.googleapis.com")), **proxies)
        last = outcome.stderr.strip().splitlines()[-1]
        assert last.startswith(f"{error}: storage.googleapis.com is out of reach")


@pytest.mark.parametrize(("environment", "short"), [({}, False), ({"LOCAL_VERTEX_LONGEST_SLEEP": "0.01"}, True)])
def test_sleeps_are_short_only_on_demand(local_cloud: LocalCloud, environment: dict[str, str], short: bool) -> None:
    script = "import time; began = time.monotonic(); time.sleep(1); print(time.monotonic() - began < 1)"
    assert answered(run(local_cloud, script, **environment)) == [str(short)]


def test_without_a_local_cloud_no_script_runs(local_cloud: LocalCloud) -> None:
    outcome = run(local_cloud, "print('ran')", LOCAL_VERTEX_URL="")
    assert (outcome.returncode, outcome.stdout) == (1, "")
    (line,) = outcome.stderr.splitlines()
    assert line.startswith("LOCAL_VERTEX_URL must say where the local Vertex AI is")


def test_nothing_of_ours_is_redirected() -> None:
    """It is only on the path of those who put it there."""
    environment: dict[str, Any] = {**os.environ, "PYTHONPATH": str(INCLUDE)}
    script = "import sys, local_cloud; print('sitecustomize' in sys.modules and sys.modules['sitecustomize'].__file__)"
    found = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert str(REDIRECT) not in found.stdout
