"""Leads scripts that can't be changed to the local Vertex AI: Python loads this module first when it is on its path.

``PYTHONPATH=include/local_cloud/redirect LOCAL_VERTEX_URL=http://127.0.0.1:PORT python script.py``

Nothing of the script or its libraries is changed but where a connection to one of Vertex AI's hosts leads to, by
httpx, requests and aiohttp, proxy or not. google-cloud-aiplatform speaks REST in place of gRPC, which can't be led
elsewhere. Every other host of Google's APIs is out of reach: Cloud Storage is found by ``STORAGE_EMULATOR_HOST``,
tokens by ``GOOGLE_APPLICATION_CREDENTIALS``. With ``LOCAL_VERTEX_LONGEST_SLEEP=0.2`` no ``time.sleep`` takes longer.
"""

from __future__ import annotations

import contextlib
import importlib.machinery
import os
import re
import sys
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType

_VERTEX = re.compile(r"([a-z0-9-]+-)?aiplatform(\.[a-z0-9.-]+)?\.googleapis\.com")
_AIPLATFORM = "google.cloud.aiplatform.initializer"

if not os.environ.get("LOCAL_VERTEX_URL"):  # rather than letting the script reach Google
    print("LOCAL_VERTEX_URL must say where the local Vertex AI is, such as http://127.0.0.1:8080", file=sys.stderr)
    os._exit(1)  # an exception would come with a page about Python's own start
_TARGET = urlsplit(os.environ["LOCAL_VERTEX_URL"])


def _leads_here(host: str, error: type[Exception]) -> bool:
    """Whether a host is one of Vertex AI's; raises ``error`` for other hosts of Google's APIs."""
    if _VERTEX.fullmatch(host):
        return True
    if host.endswith("googleapis.com"):
        raise error(f"{host} is out of reach: only Vertex AI is imitated")
    return False


def _redirect_httpx() -> None:
    import httpx

    def lead(request: httpx.Request) -> None:
        if _leads_here(request.url.host, httpx.ConnectError):
            request.url = request.url.copy_with(scheme=_TARGET.scheme, host=_TARGET.hostname, port=_TARGET.port)

    send, send_async = httpx.HTTPTransport.handle_request, httpx.AsyncHTTPTransport.handle_async_request

    def handle_request(self: Any, request: httpx.Request) -> httpx.Response:
        lead(request)
        return send(self, request)

    async def handle_async_request(self: Any, request: httpx.Request) -> httpx.Response:
        lead(request)
        return await send_async(self, request)

    httpx.HTTPTransport.handle_request = handle_request  # type: ignore[method-assign]
    httpx.AsyncHTTPTransport.handle_async_request = handle_async_request  # type: ignore[method-assign]
    for client in (httpx.Client, httpx.AsyncClient):
        _without_proxy(client)


def _without_proxy(client: Any) -> None:
    """Let an httpx client choose its proxies for other hosts only."""
    choose = client._transport_for_url
    client._transport_for_url = lambda self, url: self._transport if _VERTEX.fullmatch(url.host) else choose(self, url)


def _redirect_requests() -> None:
    import requests

    send = requests.adapters.HTTPAdapter.send

    def redirected(self: Any, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        url = urlsplit(str(request.url))
        if _leads_here(url.hostname or "", requests.ConnectionError):
            request.url = url._replace(scheme=_TARGET.scheme, netloc=_TARGET.netloc).geturl()
            options["proxies"] = None
        return send(self, request, **options)

    requests.adapters.HTTPAdapter.send = redirected  # type: ignore[method-assign, assignment]


def _redirect_aiohttp() -> None:
    import aiohttp
    import yarl

    send = aiohttp.ClientSession._request

    async def redirected(self: Any, method: str, url: Any, **options: Any) -> Any:
        url = yarl.URL(url)
        if _leads_here(url.host or "", aiohttp.ClientConnectionError):
            url = url.with_scheme(_TARGET.scheme).with_host(str(_TARGET.hostname)).with_port(_TARGET.port)
        return await send(self, method, url, **options)

    aiohttp.ClientSession._request = redirected  # type: ignore[method-assign, assignment]


def _refuse_grpc() -> None:
    import grpc  # type: ignore[import-untyped]

    def refusing(connect: Any) -> Any:
        def channel(target: str, *arguments: Any, **options: Any) -> Any:
            if "googleapis.com" in target:
                raise ConnectionError(f"{target} is out of reach by gRPC: use the client's REST transport")
            return connect(target, *arguments, **options)

        return channel

    grpc.secure_channel = refusing(grpc.secure_channel)
    grpc.aio.secure_channel = refusing(grpc.aio.secure_channel)


class _RestByDefault(importlib.machinery.PathFinder):
    """Finds the module that chooses the transport of google-cloud-aiplatform, and has it choose REST."""

    @classmethod
    def find_spec(
        cls, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """See MetaPathFinder."""
        spec = super().find_spec(fullname, path, target) if fullname == _AIPLATFORM else None
        if spec is None or spec.loader is None:
            return None
        execute = spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            execute(module)
            module.global_config._api_transport = "rest"

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


def _shorten_sleeps(longest: float) -> None:
    sleep = time.sleep
    time.sleep = lambda seconds: sleep(min(float(seconds), longest))


for _redirect in (_redirect_httpx, _redirect_requests, _redirect_aiohttp, _refuse_grpc):
    with contextlib.suppress(ImportError):  # what isn't installed connects to nothing
        _redirect()
sys.meta_path.insert(0, _RestByDefault)
# A google-genai client that finds this forgets the project and location of its environment.
os.environ.pop("GOOGLE_VERTEX_BASE_URL", None)
os.environ["NO_PROXY"] = os.environ["no_proxy"] = ",".join(
    filter(None, (os.environ.get("no_proxy") or os.environ.get("NO_PROXY"), _TARGET.hostname))
)
if os.environ.get("LOCAL_VERTEX_LONGEST_SLEEP"):
    _shorten_sleeps(float(os.environ["LOCAL_VERTEX_LONGEST_SLEEP"]))
