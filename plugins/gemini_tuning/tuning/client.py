"""Clients of Vertex AI: google-genai for jobs and prompts, signed REST for what it has no call for."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from gemini_tuning.google_errors import google_errors

if TYPE_CHECKING:
    from google.auth.credentials import Credentials
    from google.genai import Client

API_VERSION = "v1beta1"  # only v1beta1 shows what a running job is doing (tuningJobState)
TIMEOUT_SECONDS = 60.0
READ_ATTEMPTS = 4


class JsonReader(Protocol):
    """Reads one REST resource."""

    def __call__(self, path: str, params: Mapping[str, str] | None = None) -> dict[str, Any]:
        """Return the JSON at a path below the API version, such as ``projects/…/contexts/…``."""


def vertex_client(
    credentials: Credentials,
    project: str,
    location: str,
    *,
    attempts: int | None = None,
    timeout: float = TIMEOUT_SECONDS,
) -> Client:
    """Return a client for one project and location. ``GOOGLE_VERTEX_BASE_URL`` is honoured by the client.

    :param attempts: how often a read is tried on 408, 429, 5xx and broken connections; None = ``READ_ATTEMPTS``.
    :param timeout: seconds for one request.
    """
    from google.genai import Client
    from google.genai.types import HttpOptions, HttpRetryOptions

    return Client(
        vertexai=True,
        credentials=credentials,
        project=project,
        location=location,
        http_options=HttpOptions(
            api_version=API_VERSION,
            timeout=int(timeout * 1000),
            retry_options=HttpRetryOptions(attempts=attempts or READ_ATTEMPTS, initial_delay=1.0, max_delay=10.0),
        ),
    )


def json_reader(credentials: Credentials, location: str) -> JsonReader:
    """Return a reader of Vertex AI's REST resources of one location.

    Calls raise ``ServiceRefusedError`` or ``TransientError``.
    """
    from google.auth.transport.requests import AuthorizedSession

    session = AuthorizedSession(credentials)
    base = f"{base_url(location)}/{API_VERSION}"

    def read(path: str, params: Mapping[str, str] | None = None) -> dict[str, Any]:
        from google.api_core.exceptions import from_http_response

        with google_errors(f"Reading {path}"):
            response = session.get(f"{base}/{path}", params=params, timeout=TIMEOUT_SECONDS)
            if not response.ok:
                raise from_http_response(response)
            document: dict[str, Any] = response.json()
            return document

    return read


def base_url(location: str) -> str:
    """Return the API's address: ``GOOGLE_VERTEX_BASE_URL``, or Google's host for the location ("Locations")."""
    if configured := os.environ.get("GOOGLE_VERTEX_BASE_URL"):
        return configured.rstrip("/")
    if location in {"us", "eu"}:
        return f"https://aiplatform.{location}.rep.googleapis.com"
    return f"https://{location}-aiplatform.googleapis.com"
