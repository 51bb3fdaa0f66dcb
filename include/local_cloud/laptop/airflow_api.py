"""Airflow's REST API, spoken as a user would speak it: log in, unpause, trigger, look."""

from __future__ import annotations

import time
from typing import Any

import httpx

_ATTEMPTS = 20
_PAUSE_SECONDS = 0.3


class AirflowApiError(RuntimeError):
    """Airflow's API refused a request or cannot be reached. Raised with method, path, status and its reason.

    :param status: the HTTP status; None when there was no answer.
    """

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class AirflowApi:
    """A logged-in client.

    :param url: the API server, for example ``http://127.0.0.1:8080``.
    """

    def __init__(self, url: str, *, username: str, password: str) -> None:
        self.url = url
        self._login = {"username": username, "password": password}
        self._client = httpx.Client(base_url=url, timeout=30, trust_env=False)

    def get(self, path: str, **params: Any) -> Any:
        """GET ``/api/v2{path}``; the parsed JSON.

        :raises AirflowApiError: the answer is not a success.
        """
        return self._call("GET", path, params=params)

    def post(self, path: str, body: Any) -> Any:
        """POST JSON to ``/api/v2{path}``; the parsed JSON."""
        return self._call("POST", path, json=body)

    def patch(self, path: str, body: Any) -> Any:
        """PATCH ``/api/v2{path}`` by JSON; the parsed JSON."""
        return self._call("PATCH", path, json=body)

    def delete(self, path: str) -> None:
        """DELETE ``/api/v2{path}``."""
        self._call("DELETE", path)

    def find(self, path: str, **params: Any) -> Any | None:
        """GET ``/api/v2{path}``; None when there is no such thing."""
        response = self._send("GET", path, params=params)
        return None if response.status_code == httpx.codes.NOT_FOUND else _checked(response)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _call(self, method: str, path: str, **options: Any) -> Any:
        return _checked(self._send(method, path, **options))

    def _send(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Ask; again where SQLite was being written to by others, since nothing was done then."""
        for attempt in range(_ATTEMPTS):
            response = self._send_once(method, path, **options)
            if not _was_locked(response) or attempt == _ATTEMPTS - 1:
                break
            time.sleep(_PAUSE_SECONDS)
        return response

    def _send_once(self, method: str, path: str, **options: Any) -> httpx.Response:
        try:
            if "Authorization" not in self._client.headers:
                token = _checked(self._client.post("/auth/token", json=self._login))["access_token"]
                self._client.headers["Authorization"] = f"Bearer {token}"
            headers = {"Accept": "application/json"}
            return self._client.request(method, f"/api/v2{path}", headers=headers, **options)
        except httpx.HTTPError as error:
            raise AirflowApiError(f"{method} {self.url}/api/v2{path}: {error}") from error


def _was_locked(response: httpx.Response) -> bool:
    words = {httpx.codes.INTERNAL_SERVER_ERROR: "Database error", httpx.codes.SERVICE_UNAVAILABLE: "Database is locked"}
    return words.get(httpx.codes(response.status_code), "\0") in response.text


def _checked(response: httpx.Response) -> Any:
    if response.is_success:
        return response.json() if response.content else None
    try:
        reason = response.json()["detail"]
    except (ValueError, KeyError, TypeError):
        reason = response.text[:500]
    request = response.request
    raise AirflowApiError(f"{request.method} {request.url}: {response.status_code} {reason}", response.status_code)
