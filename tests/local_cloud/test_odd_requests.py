"""Requests that no client of Google's would send: each is answered, in Google's shape as far as it is HTTP at all."""

from __future__ import annotations

import gzip
import http.client
import json
import socket
import statistics
import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from tests.local_cloud.services import LocalCloud

if TYPE_CHECKING:
    from collections.abc import Callable

JOBS = "/v1/projects/local-dev/locations/us-central1/tuningJobs"
MODEL = "/v1/projects/local-dev/locations/us-central1/publishers/google/models/gemini-2.5-flash"
MIB = 2**20
STANDARD = {
    "$alt": "json;enum-encoding=int",
    "alt": "json",
    "prettyPrint": "true",
    "$prettyPrint": "false",
    "fields": "name",
    "$fields": "*",
    "key": "AIza",
    "$.xgafv": "2",
    "$userProject": "local-dev",
    "oauth_token": "x",
    "quotaUser": "me",
    "uploadType": "media",
    "upload_protocol": "raw",
    "callback": "f",
}


def talk(cloud: LocalCloud, raw: bytes, *, hang_up: bool = False) -> bytes:
    """Send bytes on a connection of their own and return all that comes back until it is closed."""
    host, port = cloud.vertex_url.removeprefix("http://").split(":")
    received = b""
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        connection.sendall(raw)
        if hang_up:
            connection.shutdown(socket.SHUT_WR)
        try:
            while piece := connection.recv(65_536):
                received += piece
        except ConnectionResetError:
            pass  # closed with something of ours unread
    return received


def written(line: str, *headers: str, body: bytes = b"", host: str = "Host: a") -> bytes:
    lines = [f"{line} HTTP/1.1", *filter(None, [host]), "Connection: close", *headers]
    return "".join(f"{text}\r\n" for text in lines).encode("latin-1") + b"\r\n" + body


def plain(vertex: httpx.Client, method: str, target: str, *headers: str, body: bytes = b"") -> bytes:
    token = f"Authorization: {vertex.headers['Authorization']}"
    length = [f"Content-Length: {len(body)}"] if body else []
    return written(f"{method} {target}", token, *length, *headers, body=body)


def check(received: bytes, code: int) -> dict[str, Any]:
    """The error of an answer that came as bytes."""
    head, _, body = received.partition(b"\r\n\r\n")
    assert int(head.split()[1]) == code, received
    document = json.loads(body)
    assert set(document) == {"error"}
    assert document["error"]["code"] == code
    error: dict[str, Any] = document["error"]
    return error


@pytest.mark.parametrize(
    ("target", "code"),
    [
        ("/v1/%00/x", 404),
        (f"{JOBS}/%00", 404),
        ("/v1/../../etc/passwd", 404),
        (f"{JOBS}/..%2f..%2fvertex.sqlite", 404),
        (f"{JOBS}%2F1", 404),
        (f"{JOBS}/%zz%f0%28", 404),
        (f"{JOBS}/1%3Fa%23b", 404),
        ("//[evil", 404),
        ("/" + "a" * 10_000, 404),
        (JOBS + "/" + "1" * 10_000, 404),
        (f"http://elsewhere{JOBS}", 404),
        ("*", 404),
        (f"{JOBS}?&&&==%00%zz=%ff&pageToken=%00", 400),
        (f"{JOBS}?filter=%ff%00", 400),
        (f"{JOBS}?pageSize={'9' * 5000}", 400),
        (f"{JOBS}?pageSize=99999999999", 400),
        (f"{JOBS}?pageSize=nan", 400),
        (f"{JOBS}?pageToken=%C3%A9", 400),
    ],
)
def test_an_absurd_target_is_refused(local_cloud: LocalCloud, vertex: httpx.Client, target: str, code: int) -> None:
    check(talk(local_cloud, plain(vertex, "GET", target)), code)


def test_an_error_names_the_whole_path(local_cloud: LocalCloud, vertex: httpx.Client) -> None:
    error = check(talk(local_cloud, plain(vertex, "GET", "/v1/a%3Fb%23c")), 404)
    assert error["message"] == "Not Found: GET /v1/a?b#c"


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW", "get"])
def test_another_method_is_refused(local_cloud: LocalCloud, vertex: httpx.Client, method: str) -> None:
    assert check(talk(local_cloud, plain(vertex, method, JOBS)), 405)["status"] == "UNIMPLEMENTED"


@pytest.mark.parametrize(("target", "code"), [(JOBS, 200), ("/v1/nothing", 404), (f"{JOBS}?pageSize=x", 400)])
def test_head_has_no_body(local_cloud: LocalCloud, vertex: httpx.Client, target: str, code: int) -> None:
    head, _, body = talk(local_cloud, plain(vertex, "HEAD", target)).partition(b"\r\n\r\n")
    assert (int(head.split()[1]), body) == (code, b"")


@pytest.mark.parametrize(
    "header",
    [
        "Host: [",
        "Host: a b/c?d#e",
        "X: \xff\xfe",
        "Accept: */*;q=nan, \xe9",
        "Content-Type: \xff",
        "Cookie: a=\xff; ;;=",
        "X-Goog-Api-Client: " + "a" * 20_000,
        "X-Forwarded-For: unknown, [",
        "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: eA==",
        "Upgrade: h2c",
        "Range: bytes=5-1",
        "If-None-Match: *",
        "Accept-Encoding: nothing",
    ],
)
def test_an_odd_header_changes_nothing(local_cloud: LocalCloud, vertex: httpx.Client, header: str) -> None:
    token = f"Authorization: {vertex.headers['Authorization']}"
    for target, code in ((f"{JOBS}?pageSize=-1", 400), ("/v1/nothing[", 404)):
        host = "" if header.startswith("Host") else "Host: a"
        check(talk(local_cloud, written(f"GET {target}", token, header, host=host)), code)


@pytest.mark.parametrize(
    "raw",
    [
        b"\x00\x01\x02\r\n\r\n",
        bytes.fromhex("1603010200010001fc0303") + b"a" * 100,  # the beginning of TLS
        f"GET {JOBS}\r\n\r\n".encode(),
        written(f"GET {JOBS}", host=""),
        written(f"GET {JOBS}", "Host: b"),
        written(f"GET {JOBS}", "no colon"),
        written(f"GET {JOBS}", "X: a\x00b"),
        written(f"GET {JOBS}", "X: " + "a" * 200_000),
        written(f"GET {JOBS} \xe9"),
        written(f"POST {JOBS}", "Content-Length: -1"),
        written(f"POST {JOBS}", "Content-Length: many"),
        written(f"POST {JOBS}", "Content-Length: 1", "Content-Length: 2", body=b"{}"),
        written(f"POST {JOBS}", "Transfer-Encoding: gzip", body=b"{}"),
        written(f"POST {JOBS}", "Transfer-Encoding: chunked", body=b"zz\r\n{}\r\n0\r\n\r\n"),
        written(f"POST {JOBS}", "Transfer-Encoding: chunked", body=b"2\r\n{}\r\nzz\r\n0\r\n\r\n"),
        written("POST /v1/nothing", "Transfer-Encoding: chunked", body=b"2\r\n{}\r\nzz\r\n0\r\n\r\n"),
    ],
)
def test_what_is_not_http_is_a_bad_request(local_cloud: LocalCloud, raw: bytes) -> None:
    assert talk(local_cloud, raw).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize(
    "body",
    [
        ("Content-Length: 50", b"{}"),
        ("Transfer-Encoding: chunked", b"5\r\n{}"),
    ],
)
def test_a_client_that_hangs_up_in_its_body_is_logged_as_gone(
    local_cloud: LocalCloud, vertex: httpx.Client, body: tuple[str, bytes]
) -> None:
    last = local_cloud.requests()[-1]["id"]
    token = f"Authorization: {vertex.headers['Authorization']}"
    assert talk(local_cloud, written(f"POST {JOBS}?gone", token, body[0], body=body[1]), hang_up=True) == b""
    (entry,) = local_cloud.control("GET", f"requests?after={last}&path=gone")
    assert entry["status"] == 499


def test_chunks_and_gzip_and_a_byte_order_mark_are_read(vertex: httpx.Client) -> None:
    body = json.dumps({"contents": [{"parts": [{"text": "a"}]}]}).encode()
    plainly = vertex.post(f"{MODEL}:countTokens", content=body).raise_for_status().json()

    def same(content: Any, **headers: str) -> bool:
        answer = vertex.post(f"{MODEL}:countTokens", content=content, headers=headers)
        return bool(answer.raise_for_status().json() == plainly)

    assert same(iter([body[:10], b"", body[10:]]))
    assert same(gzip.compress(body, mtime=0), **{"Content-Encoding": "gzip"})
    assert same(gzip.compress(body, mtime=0), **{"Content-Encoding": "GZIP"})
    assert same(body, **{"Content-Encoding": "identity"})
    assert same(b"\xef\xbb\xbf" + body)
    assert same(b'{"contents": null, ' + body[1:])  # of two the last counts
    for content_type in ("text/plain", "application/x-www-form-urlencoded", "application/json; charset=nonsense", ""):
        assert same(body, **{"Content-Type": content_type})


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"{}", {"Content-Encoding": "gzip"}),
        (gzip.compress(b"{}", mtime=0)[:5], {"Content-Encoding": "gzip"}),
        (b"{}", {"Content-Encoding": "br"}),
        (gzip.compress(gzip.compress(b"{}", mtime=0), mtime=0), {"Content-Encoding": "gzip, gzip"}),
        ('{"a": 1}'.encode("utf-16"), {"Content-Type": "application/json; charset=utf-16"}),
        (b"a=1&b=2", {"Content-Type": "application/x-www-form-urlencoded"}),
        (b"\x00", {}),
        (b"{} {}", {}),
    ],
)
def test_a_body_that_cannot_be_read_is_refused(vertex: httpx.Client, body: bytes, headers: dict[str, str]) -> None:
    answer = vertex.post(JOBS, content=body, headers=headers)
    assert answer.status_code == 400
    assert answer.json()["error"]["message"].startswith("Invalid JSON payload received.")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b'{"labels": ' + b"1" * 100_000 + b"}", "a number of 100000 digits is too large"),
        (b'{"labels": 1' + b"0" * 100_000 + b".5}", "is too large a number"),
    ],
)
def test_an_absurd_number_is_refused_in_few_words(vertex: httpx.Client, body: bytes, reason: str) -> None:
    for path in (JOBS, "/_local/faults"):
        answer = vertex.post(path, content=body)
        assert answer.status_code == 400
        message = answer.json()["error"]["message"]
        assert message.startswith("Invalid JSON payload received.")
        assert message.endswith(reason)
        assert len(message) < 200


def endless(connection: http.client.HTTPConnection, headers: dict[str, str]) -> None:
    pieces = (b" " * MIB for _ in range(24))
    connection.request("POST", JOBS, pieces, headers, encode_chunked=True)


@pytest.mark.parametrize(
    "send",
    [
        lambda connection, headers: connection.request("POST", JOBS, b" " * 21 * MIB, headers),
        lambda connection, headers: endless(connection, {**headers, "Transfer-Encoding": "chunked"}),
        lambda connection, headers: connection.request(
            "POST", JOBS, gzip.compress(b" " * 21 * MIB, mtime=0), {**headers, "Content-Encoding": "gzip"}
        ),
    ],
)
def test_too_large_a_body_is_refused_and_the_connection_goes_on(
    local_cloud: LocalCloud,
    vertex: httpx.Client,
    send: Callable[[http.client.HTTPConnection, dict[str, str]], None],
) -> None:
    connection = http.client.HTTPConnection(local_cloud.vertex_url.removeprefix("http://"), timeout=60)
    connection.connect()
    connection.auto_open = 0
    headers = {"Authorization": vertex.headers["Authorization"]}
    send(connection, headers)
    answer = connection.getresponse()
    assert answer.status == 413
    error = json.loads(answer.read())["error"]
    assert error["status"] == "INVALID_ARGUMENT"
    assert "exceeds the limit" in error["message"]
    connection.request("GET", JOBS, headers=headers)
    assert connection.getresponse().status == 200
    connection.close()


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", JOBS),
        ("POST", JOBS),
        ("GET", f"{JOBS}/1"),
        ("POST", f"{JOBS}/1:cancel"),
        ("POST", f"{MODEL}:generateContent"),
        ("POST", f"{MODEL}:streamGenerateContent"),
        ("POST", f"{MODEL}:countTokens"),
        ("GET", "/v1/projects/local-dev/locations/us-central1/models"),
        ("GET", "/v1/projects/local-dev/locations/us-central1/models/1"),
        ("DELETE", "/v1/projects/local-dev/locations/us-central1/models/1"),
        ("GET", "/v1/projects/local-dev/locations/us-central1/endpoints"),
        ("GET", "/v1/projects/local-dev/locations/us-central1/endpoints/1"),
        ("GET", "/v1/projects/local-dev/locations/us-central1/operations/1"),
        ("GET", "/v1/projects/local-dev/locations/us-central1/metadataStores/default/contexts/1"),
        ("GET", "/v1/projects/local-dev/locations/us-central1/tensorboards/1"),
    ],
)
@pytest.mark.parametrize("version", ["v1", "v1beta1"])
def test_the_standard_parameters_are_taken_everywhere(
    vertex: httpx.Client, method: str, path: str, version: str
) -> None:
    url = path.replace("/v1/", f"/{version}/")
    body = {"contents": [{"parts": [{"text": "a"}]}]} if MODEL in path else None
    without = vertex.request(method, url, json=body)
    assert without.status_code in (200, 400, 404)
    for parameters in (STANDARD, *({name: value} for name, value in STANDARD.items())):
        assert vertex.request(method, url, json=body, params=parameters).status_code == without.status_code


def test_no_answer_waits_for_an_acknowledgement(local_cloud: LocalCloud) -> None:
    """Head and body of an answer are two writes: with Nagle's algorithm the second is 40 ms late."""
    connection = http.client.HTTPConnection(local_cloud.vertex_url.removeprefix("http://"), timeout=30)
    durations = []
    for _ in range(101):
        began = time.perf_counter()
        connection.request("GET", "/_local/health")
        connection.getresponse().read()
        durations.append(time.perf_counter() - began)
    connection.close()
    assert statistics.median(durations) < 0.035
