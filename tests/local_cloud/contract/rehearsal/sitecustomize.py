"""Loaded first by a process that runs Google's own scripts: their calls reach the local cloud, their naps are short.

``LOCAL_VERTEX_URL`` says where the local Vertex AI is. Nothing of the scripts or client libraries is changed: only
where a connection to one of Vertex AI's hosts leads to. No other host of Google's can be reached.
"""

from __future__ import annotations

import os
import re
import time
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import httpx
import requests
import yarl

_TARGET = urlsplit(os.environ["LOCAL_VERTEX_URL"])
_VERTEX = re.compile(r"([a-z0-9-]+-)?aiplatform(\.[a-z0-9.-]+)?\.googleapis\.com")
_LONGEST_NAP = 0.2

_sleep = time.sleep
_send_httpx = httpx.HTTPTransport.handle_request
_send_requests = requests.adapters.HTTPAdapter.send
_send_aiohttp = aiohttp.ClientSession._request


def _nap(seconds: float) -> None:
    _sleep(min(seconds, _LONGEST_NAP))


def _leads_here(host: str) -> bool:
    if _VERTEX.fullmatch(host):
        return True
    if host.endswith("googleapis.com"):
        raise requests.ConnectionError(f"{host} is out of reach")
    return False


def _httpx(self: Any, request: httpx.Request) -> httpx.Response:
    if _leads_here(request.url.host):
        request.url = request.url.copy_with(scheme=_TARGET.scheme, host=_TARGET.hostname, port=_TARGET.port)
    return _send_httpx(self, request)


def _requests(self: Any, request: requests.PreparedRequest, **options: Any) -> requests.Response:
    url = urlsplit(str(request.url))
    if _leads_here(url.hostname or ""):
        request.url = url._replace(scheme=_TARGET.scheme, netloc=_TARGET.netloc).geturl()
    return _send_requests(self, request, **options)


async def _aiohttp(self: Any, method: str, url: Any, **options: Any) -> Any:
    url = yarl.URL(url)
    if _leads_here(url.host or ""):
        url = url.with_scheme(_TARGET.scheme).with_host(str(_TARGET.hostname)).with_port(_TARGET.port)
    return await _send_aiohttp(self, method, url, **options)


time.sleep = _nap
httpx.HTTPTransport.handle_request = _httpx  # type: ignore[method-assign]
requests.adapters.HTTPAdapter.send = _requests  # type: ignore[method-assign]
aiohttp.ClientSession._request = _aiohttp  # type: ignore[method-assign]
