"""Every API route wants a token of this server's own token endpoint."""

from __future__ import annotations

import httpx
import pytest
from tests.local_cloud.services import LocalCloud


@pytest.mark.parametrize(
    "header", [None, "Bearer", "Bearer local.99999999999.aa.bb", "Bearer a.b.c", "Basic eDp5", "Bearer é"]
)
def test_without_a_valid_token_nothing_is_answered(local_cloud: LocalCloud, header: str | None) -> None:
    headers = {b"Authorization": header.encode()} if header else {}
    url = f"{local_cloud.vertex_url}/v1/{local_cloud.parent}/tuningJobs"
    response = httpx.get(url, headers=headers, trust_env=False)
    assert response.status_code == 401
    assert response.json()["error"]["status"] == "UNAUTHENTICATED"
    assert "WWW-Authenticate" in response.headers


def test_a_token_cannot_be_made_to_last(local_cloud: LocalCloud, vertex: httpx.Client) -> None:
    token = vertex.headers["Authorization"].removeprefix("Bearer ")
    prefix, expires, rest = token.split(".", 2)
    forged = f"{prefix}.{int(expires) + 1}.{rest}"
    url = f"{local_cloud.vertex_url}/v1/{local_cloud.parent}/tuningJobs"
    for candidate, status in ((token, 200), (forged, 401)):
        answer = httpx.get(url, headers={"Authorization": f"Bearer {candidate}"}, trust_env=False)
        assert answer.status_code == status


@pytest.mark.parametrize(
    ("form", "error"),
    [
        ({}, "unsupported_grant_type"),
        ({"grant_type": "password"}, "unsupported_grant_type"),
        ({"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": "x"}, "invalid_grant"),
        ({"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": "a.b.c"}, "invalid_grant"),
    ],
)
def test_the_token_endpoint_answers_mistakes_as_oauth_does(
    local_cloud: LocalCloud, form: dict[str, str], error: str
) -> None:
    response = httpx.post(f"{local_cloud.vertex_url}/token", data=form, trust_env=False)
    assert response.status_code == 400
    assert response.json()["error"] == error


def test_tokens_are_never_logged(local_cloud: LocalCloud, vertex: httpx.Client) -> None:
    vertex.get(f"/v1/{local_cloud.parent}/tuningJobs")
    token = vertex.headers["Authorization"].removeprefix("Bearer ")
    assert token not in str(local_cloud.requests())
    assert all(entry["path"] != "/token" for entry in local_cloud.requests())
