"""The local Vertex AI, put together."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.middleware import Middleware

from local_cloud.vertex import errors
from local_cloud.vertex.auth import RequireToken, Tokens
from local_cloud.vertex.catalogue import Catalogue
from local_cloud.vertex.content_api import ContentApi
from local_cloud.vertex.ledger import Ledger, LogRequests
from local_cloud.vertex.metrics_api import MetricsApi
from local_cloud.vertex.models_api import ModelsApi
from local_cloud.vertex.runner import Runner
from local_cloud.vertex.serving import Serving
from local_cloud.vertex.store import Store
from local_cloud.vertex.tuning_api import TuningApi

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from local_cloud.vertex.settings import Settings


def create_app(settings: Settings) -> Starlette:
    """Return the ASGI application; its lifespan takes up the jobs that the last one left unfinished."""
    settings.state_dir.mkdir(parents=True, exist_ok=True)
    store = Store(settings.state_dir / "vertex.sqlite")
    catalogue = Catalogue.load(settings.models_file)
    runner = Runner(store, settings, catalogue)
    serving = Serving()
    tokens = Tokens(store)

    @contextlib.asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        runner.start()
        yield
        await runner.stop()
        serving.close()
        store.close()

    services = (
        tokens,
        Ledger(store),
        TuningApi(store, runner, catalogue, settings),
        ContentApi(store, runner, catalogue, serving),
        MetricsApi(store),
        ModelsApi(store),
    )
    app = Starlette(
        routes=[route for service in services for route in service.routes()],
        middleware=[Middleware(LogRequests, store=store), Middleware(RequireToken, tokens=tokens)],
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False
    errors.install(app)
    return app
