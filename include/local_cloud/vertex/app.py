"""The local Vertex AI, put together."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.middleware import Middleware

from local_cloud.vertex.api import errors
from local_cloud.vertex.api.auth import RequireToken, Tokens
from local_cloud.vertex.api.content import ContentApi
from local_cloud.vertex.api.endpoints import EndpointsApi
from local_cloud.vertex.api.metadata import MetadataApi
from local_cloud.vertex.api.metrics import MetricsApi
from local_cloud.vertex.api.models import ModelsApi
from local_cloud.vertex.api.operations import OperationsApi
from local_cloud.vertex.api.publishers import PublishersApi
from local_cloud.vertex.api.tuning import TuningApi
from local_cloud.vertex.catalogue import Catalogue
from local_cloud.vertex.control.api import ControlApi
from local_cloud.vertex.control.changes import Changes
from local_cloud.vertex.control.faults import InjectFaults
from local_cloud.vertex.control.ledger import Ledger, LogRequests, RequestLog
from local_cloud.vertex.control.planting import Planting
from local_cloud.vertex.control.rules import Rules
from local_cloud.vertex.jobs.creation import Creation
from local_cloud.vertex.jobs.products import Products
from local_cloud.vertex.jobs.registry import Registry
from local_cloud.vertex.jobs.request import JobRequests
from local_cloud.vertex.jobs.runner import Runner
from local_cloud.vertex.jobs.store import Store
from local_cloud.vertex.serving.weights import Serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from local_cloud.vertex.control.script import Script
    from local_cloud.vertex.settings import Settings


def create_app(settings: Settings, script: Script | None = None) -> Starlette:
    """Return the ASGI application; its lifespan takes up the jobs that the last one left unfinished.

    Raises:
        ApiError: a job of the script can't be planted.
        OtherVersionError: the state directory is another version's.
        sqlite3.DatabaseError: the job store is no database.
    """
    settings.state_dir.mkdir(parents=True, exist_ok=True)
    store = Store(settings.store_file)
    registry = Registry(store.db)
    rules = Rules(store)
    changes = Changes(store, settings)
    catalogue = Catalogue.load(settings.models_file)
    products = Products(store, registry, catalogue)
    planting = Planting(store, registry, products)
    runner = Runner(store, settings, products)
    creation = Creation(store, JobRequests(store, registry, catalogue, settings), rules, runner, settings)
    serving = Serving()
    tokens = Tokens(store, settings)
    operations = OperationsApi(store.db)
    log = RequestLog(store.db)
    if script:
        for job in script.jobs:
            planting.plant(job, replace=False)
        rules.set_all([*script.scenarios, *script.faults, *script.answers])

    @contextlib.asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        creation.sweep()
        runner.start()
        yield
        await runner.stop()
        serving.close()
        store.close()

    services = (
        tokens,
        Ledger(store, log),
        ControlApi(store, rules, settings, changes, planting, runner.admit),
        TuningApi(store, creation, runner, settings),
        ContentApi(store, registry, settings, catalogue, serving, rules),
        MetadataApi(store),
        MetricsApi(store),
        ModelsApi(store, registry, operations),
        EndpointsApi(store, registry),
        PublishersApi(catalogue),
        operations,
    )
    app = Starlette(
        routes=[route for service in services for route in service.routes()],
        middleware=[
            Middleware(LogRequests, log=log),
            Middleware(InjectFaults, rules=rules, settings=settings),
            Middleware(RequireToken, tokens=tokens, settings=settings),
        ],
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False
    errors.install(app)
    return app
