"""With ``require_token``, every API route wants a token of this server's own making, and tokens come to an end."""

from __future__ import annotations

import base64
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from google.auth import crypt, jwt
from google.auth.exceptions import RefreshError
from google.auth.transport.requests import AuthorizedSession, Request
from google.genai import errors
from google.oauth2 import service_account
from tests.local_cloud.services import LocalCloud, running_local_cloud, wait_until

from local_cloud.credentials import write_service_account

if TYPE_CHECKING:
    from collections.abc import Iterator

GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
SCOPES = ["https://www.googleapis.com/auth/cloud-platform"]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCloud]:
    """A local cloud of this module's own: ending all tokens ends those of other tests too."""
    with running_local_cloud(tmp_path_factory.mktemp("tokens")) as cloud:
        yield cloud


@pytest.fixture
def cloud(running: LocalCloud) -> Iterator[LocalCloud]:
    yield running
    running.control("PATCH", "settings", {"require_token": True, "token_seconds": 3600})


@pytest.fixture
def foreign(cloud: LocalCloud, tmp_path: Path) -> service_account.Credentials:
    """A service account that this server did not make."""
    path = tmp_path / "foreign.json"
    write_service_account(path, project=cloud.project, token_uri=f"{cloud.vertex_url}/token")
    return service_account.Credentials.from_service_account_file(str(path), scopes=SCOPES)


def jobs_url(cloud: LocalCloud) -> str:
    return f"{cloud.vertex_url}/v1/{cloud.parent}/tuningJobs"


def status(cloud: LocalCloud, token: str) -> int:
    headers = {"Authorization": f"Bearer {token}"}
    return httpx.get(jobs_url(cloud), headers=headers, trust_env=False).status_code


def assertion(cloud: LocalCloud, **claims: Any) -> str:
    """An assertion of the server's own service account; None leaves a claim out."""
    account = json.loads(Path(cloud.credentials_path).read_text())
    now = int(time.time())
    payload = {"iss": account["client_email"], "iat": now, "exp": now + 600, **claims}
    signer = crypt.RSASigner.from_service_account_info(account)
    return jwt.encode(signer, {key: value for key, value in payload.items() if value is not None}).decode()


@pytest.mark.parametrize(
    "header", [None, "Bearer", "Bearer local.99999999999.aa.bb", "Bearer a.b.c", "Basic eDp5", "Bearer é"]
)
def test_without_a_valid_token_nothing_is_answered(cloud: LocalCloud, header: str | None) -> None:
    headers = {b"Authorization": header.encode()} if header else {}
    response = httpx.get(jobs_url(cloud), headers=headers, trust_env=False)
    assert response.status_code == 401
    assert response.json()["error"]["status"] == "UNAUTHENTICATED"
    assert "WWW-Authenticate" in response.headers


@pytest.mark.parametrize("header", [None, "Bearer", "Bearer ya29.a0Af_Google's", "Basic eDp5", "Bearer é"])
def test_when_none_is_required_anything_will_do(cloud: LocalCloud, header: str | None) -> None:
    cloud.control("PATCH", "settings", {"require_token": False})
    headers = {b"Authorization": header.encode()} if header else {}
    assert httpx.get(jobs_url(cloud), headers=headers, trust_env=False).status_code == 200


def test_a_token_cannot_be_made_to_last(cloud: LocalCloud) -> None:
    credentials = cloud.credentials()
    credentials.refresh(Request())
    prefix, issued, expires, rest = credentials.token.split(".", 3)
    assert status(cloud, credentials.token) == 200
    assert status(cloud, f"{prefix}.{issued}.{int(expires) + 1}.{rest}") == 401
    assert status(cloud, f"{prefix}.{int(issued) + 1}.{expires}.{rest}") == 401


def test_a_token_may_stand_in_the_query(cloud: LocalCloud) -> None:
    credentials = cloud.credentials()
    credentials.refresh(Request())
    for token, code in ((credentials.token, 200), ("local.1.2.3.4", 401)):
        answer = httpx.get(jobs_url(cloud), params={"access_token": token}, trust_env=False)
        assert answer.status_code == code


def test_a_token_ends_with_its_lifetime(cloud: LocalCloud) -> None:
    cloud.control("PATCH", "settings", {"token_seconds": 3})
    credentials = cloud.credentials()
    credentials.refresh(Request())
    assert credentials.expired  # google-auth renews it before each call: its margin is longer
    cloud.control("PATCH", "settings", {"token_seconds": 3600})
    wait_until(lambda: status(cloud, credentials.token) == 401, 30, "the token to expire")


@pytest.mark.parametrize(
    ("form", "error"),
    [
        ({}, "unsupported_grant_type"),
        ({"grant_type": "password"}, "unsupported_grant_type"),
        ({"grant_type": GRANT}, "invalid_grant"),
        ({"grant_type": GRANT, "assertion": "x"}, "invalid_grant"),
        ({"grant_type": GRANT, "assertion": "a.b.c"}, "invalid_grant"),
        ({"grant_type": GRANT, "assertion": "é.bnVsbA.ü"}, "invalid_grant"),
    ],
)
@pytest.mark.parametrize("required", [True, False])
def test_the_token_endpoint_answers_mistakes_as_oauth_does(
    cloud: LocalCloud, form: dict[str, str], error: str, required: bool
) -> None:
    cloud.control("PATCH", "settings", {"require_token": required})
    response = httpx.post(f"{cloud.vertex_url}/token", data=form, trust_env=False)
    assert response.status_code == 400
    assert response.json()["error"] == error


@pytest.mark.parametrize(
    ("claims", "code"),
    [
        ({}, 200),
        ({"exp": 1}, 401),
        ({"exp": None}, 401),
        ({"exp": "tomorrow"}, 401),
        ({"iss": None}, 401),
        ({"iat": []}, 401),
    ],
)
def test_an_assertion_is_judged_by_its_claims(cloud: LocalCloud, claims: dict[str, Any], code: int) -> None:
    token = assertion(cloud, **claims)
    assert status(cloud, token) == code
    answer = httpx.post(f"{cloud.vertex_url}/token", data={"grant_type": GRANT, "assertion": token}, trust_env=False)
    assert answer.status_code == (200 if code == 200 else 400)


def test_an_assertion_cannot_be_changed(cloud: LocalCloud) -> None:
    header, _, signature = assertion(cloud).split(".")
    claims = base64.urlsafe_b64encode(json.dumps({"iss": "a", "iat": 1, "exp": 2**40}).encode()).decode()
    assert status(cloud, f"{header}.{claims}.{signature}") == 401


def test_another_service_account_is_refused_while_tokens_are_required(
    cloud: LocalCloud, foreign: service_account.Credentials
) -> None:
    with pytest.raises(RefreshError, match="invalid_grant"):
        foreign.refresh(Request())
    self_signed = foreign.with_always_use_jwt_access(True)
    self_signed._create_self_signed_jwt(None)
    self_signed.refresh(Request())
    assert status(cloud, self_signed.token) == 401
    cloud.control("PATCH", "settings", {"require_token": False})
    foreign.refresh(Request())
    assert status(cloud, foreign.token) == 200


def test_an_expired_session_renews_itself_and_goes_on(cloud: LocalCloud) -> None:
    session = AuthorizedSession(cloud.credentials())
    session.trust_env = False
    assert session.get(jobs_url(cloud)).status_code == 200
    stale = session.credentials.token
    issued = cloud.counters()["tokens_issued"]
    assert cloud.control("POST", "tokens:expire") == {}
    assert status(cloud, stale) == 401
    assert session.get(jobs_url(cloud)).status_code == 200
    assert session.credentials.token != stale
    assert cloud.counters()["tokens_issued"] == issued + 1


def test_a_scripted_401_renews_the_token_of_a_session(cloud: LocalCloud) -> None:
    session = AuthorizedSession(cloud.credentials())
    session.trust_env = False
    issued = cloud.counters()["tokens_issued"]
    cloud.control("POST", "faults", {"status": 401})
    assert session.get(jobs_url(cloud)).status_code == 200
    assert cloud.counters()["tokens_issued"] == issued + 2


def test_an_expired_self_signed_token_is_renewed_too(cloud: LocalCloud) -> None:
    credentials = cloud.credentials().with_always_use_jwt_access(True)
    credentials._create_self_signed_jwt(None)
    session = AuthorizedSession(credentials)
    session.trust_env = False
    issued = cloud.counters()["tokens_issued"]
    assert session.get(jobs_url(cloud)).status_code == 200
    stale = credentials.token
    cloud.control("POST", "tokens:expire")
    assert status(cloud, stale) == 401
    assert session.get(jobs_url(cloud)).status_code == 200
    assert cloud.counters()["tokens_issued"] == issued  # it never asked for one


def test_a_genai_client_goes_on_with_renewed_credentials(cloud: LocalCloud) -> None:
    """google-genai doesn't renew a token that is refused before its time: its caller has to."""
    credentials = cloud.credentials()
    client = cloud.genai()
    client._api_client._credentials = credentials
    list(client.tunings.list())
    cloud.control("POST", "tokens:expire")
    with pytest.raises(errors.ClientError) as caught:
        list(client.tunings.list())
    assert (caught.value.code, caught.value.status) == (401, "UNAUTHENTICATED")
    credentials.refresh(Request())
    list(client.tunings.list())


def test_a_genai_client_renews_a_short_lived_token_in_time(cloud: LocalCloud) -> None:
    cloud.control("PATCH", "settings", {"token_seconds": 1})
    client = cloud.genai()
    issued = cloud.counters()["tokens_issued"]
    for _ in range(3):
        list(client.tunings.list())
    assert cloud.counters()["tokens_issued"] == issued + 3


def test_expired_tokens_stay_expired_after_a_restart(tmp_path: Path) -> None:
    with running_local_cloud(tmp_path) as cloud:
        credentials = cloud.credentials()
        credentials.refresh(Request())
        stale = [credentials.token, assertion(cloud)]
        assert [status(cloud, token) for token in stale] == [200, 200]
        cloud.control("POST", "tokens:expire")
        credentials.refresh(Request())
        good = [credentials.token, assertion(cloud)]
    with running_local_cloud(tmp_path) as cloud:
        assert [status(cloud, token) for token in stale + good] == [401, 401, 200, 200]


def test_tokens_are_never_logged(cloud: LocalCloud) -> None:
    with cloud.http() as client:
        token = client.headers["Authorization"].removeprefix("Bearer ")
        client.get("/v1/a")
        client.get("/v1/b", params={"access_token": token})
    assert {"/v1/a", "/v1/b"} <= {entry["path"] for entry in cloud.requests()}
    assert token not in str(cloud.requests())
    assert all(entry["path"] != "/token" for entry in cloud.requests())
