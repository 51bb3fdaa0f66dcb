"""A local cloud with 500 jobs in its store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import httpx
    from tests.local_cloud.services import LocalCloud

JOBS = 500
TEAMS = ("paint", "wood", "stone", "glass", "steel")
_FIRST_ID = 10**18


def fill(cloud: LocalCloud, client: httpx.Client) -> list[str]:
    """Plant the jobs, each labelled with one of the teams in turn, and return their names in order of creation."""
    names = []
    for number in range(JOBS):
        job = {
            "name": f"{cloud.parent}/tuningJobs/{_FIRST_ID + number}",
            "baseModel": "gemini-2.5-flash",
            "tunedModelDisplayName": f"shelves {number}",
            "state": "JOB_STATE_SUCCEEDED",
            "labels": {"team": TEAMS[number % len(TEAMS)], "number": str(number)},
            "supervisedTuningSpec": {
                "trainingDatasetUri": "gs://tuning/train.jsonl",
                "hyperParameters": {"epochCount": "2", "adapterSize": "ADAPTER_SIZE_FOUR"},
            },
        }
        answer = client.post("/_local/jobs", json=job).raise_for_status().json()
        names.append(answer["name"])
    return names


def walk(client: httpx.Client, path: str, page_size: int, **query: str) -> list[list[dict[str, Any]]]:
    """Follow a list to its end and return its pages."""
    pages = []
    token = ""
    while True:
        asked = {"pageSize": page_size, "pageToken": token, **query}
        answer = client.get(path, params=asked).raise_for_status().json()
        pages.append(answer.get("tuningJobs", []))
        token = answer.get("nextPageToken", "")
        if not token or len(pages) > JOBS:
            return pages
