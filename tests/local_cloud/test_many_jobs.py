"""Lists of a store with 500 jobs: every job once, on full pages, newest first."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.local_cloud.filled import JOBS, TEAMS, fill, walk
from tests.local_cloud.services import running_local_cloud

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[httpx.Client, str, list[str]]]:
    """A client, the path of the list, and the jobs' names in order of creation."""
    with running_local_cloud(tmp_path_factory.mktemp("many")) as cloud, cloud.http() as client:
        yield client, f"/v1/{cloud.parent}/tuningJobs", fill(cloud, client)


@pytest.mark.parametrize("page_size", [7, 100, 499, 500, 1000])
def test_pages_hold_every_job_once_newest_first(filled: tuple[httpx.Client, str, list[str]], page_size: int) -> None:
    client, path, names = filled
    pages = walk(client, path, page_size)
    assert [job["name"] for page in pages for job in page] == names[::-1]
    assert all(len(page) == page_size for page in pages[:-1])
    assert pages[-1]


def test_pages_of_a_filter_are_full_too(filled: tuple[httpx.Client, str, list[str]]) -> None:
    client, path, names = filled
    pages = walk(client, path, 30, filter=f'labels.team="{TEAMS[1]}"')
    assert [len(page) for page in pages] == [30, 30, 30, 10]
    assert [job["name"] for page in pages for job in page] == names[1 :: len(TEAMS)][::-1]
    (only,) = walk(client, path, 30, filter=f'labels.number="{JOBS - 1}"')
    assert [job["name"] for job in only] == names[-1:]


def test_jobs_that_come_while_pages_are_turned_move_nothing(filled: tuple[httpx.Client, str, list[str]]) -> None:
    client, path, names = filled
    first = client.get(path, params={"pageSize": 3}).json()
    job = {"name": names[0].replace("/tuningJobs/", "/tuningJobs/9"), "state": "JOB_STATE_SUCCEEDED"}
    client.post("/_local/jobs", json=job).raise_for_status()
    second = client.get(path, params={"pageSize": 3, "pageToken": first["nextPageToken"]}).json()
    found = [item["name"] for answer in (first, second) for item in answer["tuningJobs"]]
    assert found == names[:-7:-1]
