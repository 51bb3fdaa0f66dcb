"""What a contract talks to: a local cloud behind a proxy, with Google's clients already pointed at it."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import uuid
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from google import genai
from google.genai import types
from tests.local_cloud.services import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx
    from tests.local_cloud.contract.proxy import Exchange, Proxy
    from tests.local_cloud.services import LocalCloud

BASE_MODEL = "gemini-2.5-flash"
MOST_PAGES = 20
"""More than any list here has: a server that repeats itself must not be followed for ever."""


@dataclass(frozen=True)
class Service:
    """A local cloud whose new jobs stay PENDING, with one job that has ended well.

    Attributes:
        cloud: how clients reach it: its ``vertex_url`` is the proxy's.
        proxy: what stands in between.
        plain: an HTTP client with a token.
        tuned: the finished job, as v1beta1 answered it, two epochs long.
        training_uri: a dataset.
        validation_uri: a dataset.
        preference_uri: a dataset of preferences.
        patience: seconds to wait for what takes its time.
    """

    cloud: LocalCloud
    proxy: Proxy
    plain: httpx.Client
    tuned: dict[str, Any]
    training_uri: str
    validation_uri: str
    preference_uri: str
    patience: float = 60.0

    @classmethod
    def behind(cls, proxy: Proxy, cloud: LocalCloud, **fields: Any) -> Service:
        """The service that clients see who go through ``proxy``."""
        seen = replace(cloud, vertex_url=proxy.url)
        return cls(cloud=seen, proxy=proxy, plain=seen.http(), **fields)

    @property
    def exchanges(self) -> list[Exchange]:
        """All that was said so far, without the local cloud's own additions."""
        return [exchange for exchange in self.proxy.exchanges if not exchange.path.startswith("/_local/")]

    def job(self, name: str, version: str = "v1beta1") -> dict[str, Any]:
        """A job as plain REST answers it."""
        return self.json("GET", f"/{version}/{name}")

    def json(self, method: str, path: str, body: Any = None, status: int = 200) -> Any:
        """The JSON answer to a plain request."""
        answer = self.plain.request(method, path, json=body)
        assert answer.status_code == status, answer.text
        return answer.json()

    def create(self, label: str, version: str = "v1", **fields: Any) -> dict[str, Any]:
        """Create a small job by plain REST."""
        spec = {"trainingDatasetUri": self.training_uri, "hyperParameters": {"epochCount": 1}}
        body = {"baseModel": BASE_MODEL, "supervisedTuningSpec": spec, "labels": {"run": label}, **fields}
        return dict(self.json("POST", f"/{version}/{self.cloud.parent}/tuningJobs", body))

    def ends_as(self, name: str, state: str) -> dict[str, Any]:
        """Wait until a job is in ``state``, and return it."""
        wait_until(lambda: self.job(name)["state"] == state, self.patience, f"{name} to be {state}")
        return self.job(name)

    def gapic(self, version: str) -> Any:
        """The package ``google.cloud.aiplatform_v1`` or ``…_v1beta1``: loading it takes seconds."""
        return importlib.import_module(f"google.cloud.aiplatform_{version}")

    def gapic_client(self, version: str, name: str) -> Any:
        """One of its clients, over REST."""
        return self.cloud.generated(getattr(self.gapic(version), name))

    def genai(self, version: str, *, location: str | None = None) -> Genai:
        """google-genai's client, called synchronously."""
        return Genai(self._genai(version, location))

    def genai_async(self, version: str) -> Genai:
        """google-genai's asynchronous client."""
        return AsyncGenai(self._genai(version, None))

    def _genai(self, version: str, location: str | None) -> genai.Client:
        return genai.Client(
            vertexai=True,
            project=self.cloud.project,
            location=location or self.cloud.location,
            credentials=self.cloud.credentials(),
            http_options=types.HttpOptions(base_url=self.cloud.vertex_url, api_version=version),
        )


class Genai:
    """The calls of google-genai that contracts are about, in one form for both of its clients."""

    def __init__(self, client: genai.Client) -> None:
        self.client = client

    def close(self) -> None:
        """Give up the connections."""
        self.client.close()

    def call(self, method: str, **arguments: Any) -> Any:
        """Call ``tunings.get`` and the like."""
        part, _, name = method.partition(".")
        return getattr(getattr(self.client, part), name)(**arguments)

    def pages(self, method: str, **config: Any) -> list[list[Any]]:
        """All pages of a list."""
        pager = self.call(method, config=config)
        pages = [list(pager.page)]
        with contextlib.suppress(IndexError):
            while len(pages) < MOST_PAGES:
                pages.append(self._next_page(pager))
        return pages

    def _next_page(self, pager: Any) -> list[Any]:
        return list(pager.next_page())

    def stream(self, **arguments: Any) -> list[types.GenerateContentResponse]:
        """All pieces of ``models.generate_content_stream``."""
        return list(self.call("models.generate_content_stream", **arguments))


class AsyncGenai(Genai):
    """The same calls through ``client.aio``."""

    def __init__(self, client: genai.Client) -> None:
        super().__init__(client)
        self._loop = asyncio.Runner()

    def close(self) -> None:
        """See Genai."""
        with contextlib.closing(self._loop):
            self._loop.run(self.client.aio.aclose())
        super().close()

    def call(self, method: str, **arguments: Any) -> Any:
        """See Genai."""
        part, _, name = method.partition(".")
        return self._loop.run(getattr(getattr(self.client.aio, part), name)(**arguments))

    def _next_page(self, pager: Any) -> list[Any]:
        return list(self._loop.run(pager.next_page()))

    def stream(self, **arguments: Any) -> list[types.GenerateContentResponse]:
        """See Genai."""

        async def all_of_it() -> list[types.GenerateContentResponse]:
            return [piece async for piece in await self.client.aio.models.generate_content_stream(**arguments)]

        return self._loop.run(all_of_it())


def new_label() -> str:
    """A label value of this contract's own jobs."""
    return uuid.uuid4().hex


def new_id() -> int:
    """An id that nothing else has."""
    return uuid.uuid4().int % 10**18 + 10**18


def agrees(document: dict[str, Any], expected: dict[str, Any]) -> None:
    """Fail unless each expected field is there with exactly this value."""
    for name, value in expected.items():
        assert document.get(name) == value, f"{name}: {document.get(name)!r} is not {value!r}"


def cancelled(service: Service, names: Iterator[str] | list[str]) -> None:
    """Cancel jobs, so that none of them ever trains."""
    for name in names:
        service.json("POST", f"/v1/{name}:cancel")


def planted(service: Service, **fields: Any) -> dict[str, Any]:
    """Plant a finished job with a model of its own, as the API answers it."""
    name = f"{service.cloud.parent}/tuningJobs/{new_id()}"
    job = {"name": name, "baseModel": BASE_MODEL, "state": "JOB_STATE_SUCCEEDED", **fields}
    service.json("POST", "/_local/jobs", job)
    return service.job(name)
