"""The commands that talk to Google: tuning jobs, prompts and smoke suites.

Credentials are Application Default Credentials (``GOOGLE_APPLICATION_CREDENTIALS`` or ``gcloud auth``).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gemini_tuning.errors import ConfigError
from gemini_tuning.google_errors import google_errors
from gemini_tuning.smoke.endpoint import Endpoint
from gemini_tuning.smoke.runner import run_suite
from gemini_tuning.smoke.suite import GenerationSettings, SmokeSuite
from gemini_tuning.tuning.client import json_reader, vertex_client
from gemini_tuning.tuning.metrics import metrics_location, read_metrics
from gemini_tuning.tuning.models import ModelTable
from gemini_tuning.tuning.service import TuningService, check_job_name
from gemini_tuning.tuning.spec import TuningJob, location_of
from gemini_tuning.tuning.tokens import TokenCounter, counting_location

if TYPE_CHECKING:
    from google.auth.credentials import Credentials
    from google.cloud.storage import Client as StorageClient

Show = Callable[[argparse.Namespace, Any, str], None]
_SCOPE = "https://www.googleapis.com/auth/cloud-platform"


def storage(project: str | None) -> StorageClient:
    """Return a Cloud Storage client with the default credentials."""
    from google.cloud.storage import Client

    credentials, default_project = _credentials()
    return Client(project=project or default_project, credentials=credentials)


def token_counter(parsed: argparse.Namespace, models: ModelTable) -> TokenCounter:
    """Return what counts the tokens of examples as the base model ``--model`` does."""
    location = counting_location(parsed.model, models.find(parsed.model), parsed.location)
    credentials, project = _credentials()
    return TokenCounter(vertex_client(credentials, _project(parsed.project or project), location), parsed.model)


def add_commands(commands: Any, formats: argparse.ArgumentParser, show: Show) -> None:
    """Add ``jobs``, ``ask`` and ``smoke``.

    :param show: prints a result in the format asked for.
    """
    google = argparse.ArgumentParser(add_help=False)
    google.add_argument("--project", help="Google Cloud project (default: the credentials')")
    google.add_argument("--location", default="us-central1", help="location of the tuning jobs")

    jobs = commands.add_parser("jobs", help="tuning jobs of a project and location").add_subparsers(required=True)

    def add_job_command(name: str, run: Callable[[argparse.Namespace], int], help_: str, *, takes_job: bool) -> None:
        parser = jobs.add_parser(name, help=help_, description=help_, parents=[google, formats])
        parser.set_defaults(command=run)
        if takes_job:
            parser.add_argument("job", metavar="JOB", help="projects/P/locations/L/tuningJobs/ID")

    add_job_command("list", lambda parsed: _list(parsed, show), "list jobs, newest first", takes_job=False)
    add_job_command("show", lambda parsed: _show_job(parsed, show), "show one job", takes_job=True)
    add_job_command("cancel", lambda parsed: _cancel(parsed, show), "ask for a job to be cancelled", takes_job=True)
    add_job_command("metrics", lambda parsed: _metrics(parsed, show), "losses and accuracies by step", takes_job=True)

    asked = argparse.ArgumentParser(add_help=False)
    asked.add_argument("--model", metavar="ID", help="the endpoint's base model: asks it not to think, as pipelines do")

    asker = commands.add_parser("ask", help="one prompt to a tuned endpoint", parents=[google, asked, formats])
    asker.set_defaults(command=lambda parsed: _ask(parsed, show))
    asker.add_argument("endpoint", metavar="ENDPOINT", help="projects/P/locations/L/endpoints/ID, or a base model")
    asker.add_argument("prompt", metavar="PROMPT")
    asker.add_argument("--temperature", type=float)
    asker.add_argument("--top-p", type=float)
    asker.add_argument("--top-k", type=int)
    asker.add_argument("--max-output-tokens", type=int)

    smoker = commands.add_parser("smoke", help="run a smoke suite", parents=[google, asked, formats])
    smoker.set_defaults(command=lambda parsed: _smoke(parsed, show))
    smoker.add_argument("suite", metavar="SUITE", help="YAML file")
    smoker.add_argument("--endpoint", required=True, metavar="NAME")


def _list(parsed: argparse.Namespace, show: Show) -> int:
    jobs = list(_service(parsed).list())
    show(parsed, [job.to_json() for job in jobs], "\n".join(f"{job.name}  {job.progress()}" for job in jobs))
    return 0


def _show_job(parsed: argparse.Namespace, show: Show) -> int:
    job = _job(parsed)
    rows = {**_flat(job.to_json()), "console": job.console_url}
    show(parsed, job.to_json(), "\n".join(f"{key:<38} {value}" for key, value in rows.items()))
    return 0


def _flat(node: Any, path: str = "") -> dict[str, Any]:
    """Return the values that are set, each under its whole path."""
    if isinstance(node, dict):
        items = node.items()
    elif isinstance(node, list):
        items = {str(number): value for number, value in enumerate(node)}.items()
    else:
        return {} if node is None else {path: node}
    return {key: value for name, child in items for key, value in _flat(child, f"{path}.{name}".lstrip(".")).items()}


def _cancel(parsed: argparse.Namespace, show: Show) -> int:
    _service(parsed, parsed.job).cancel(parsed.job)
    show(parsed, {"name": parsed.job, "cancel": "requested"}, f"{parsed.job}: cancellation asked for")
    return 0


def _metrics(parsed: argparse.Namespace, show: Show) -> int:
    job = _job(parsed)
    metrics = read_metrics(json_reader(_credentials()[0], metrics_location(job)), job)
    lines = [f"{name}  step {p.step}: {p.value:.6g}" for name, points in metrics.series.items() for p in points]
    show(parsed, metrics.to_json(), "\n".join(lines) or "no metrics yet")
    return 0


def _ask(parsed: argparse.Namespace, show: Show) -> int:
    fields = {name: getattr(parsed, name) for name in GenerationSettings.model_fields}
    settings = GenerationSettings.from_json(fields)
    answer = _endpoint(parsed).ask(parsed.prompt, settings)
    show(parsed, answer._asdict(), answer.text if answer.text is not None else f"no answer: {answer.finish_reason}")
    return 0 if answer.text is not None else 1


def _smoke(parsed: argparse.Namespace, show: Show) -> int:
    suite = SmokeSuite.load(Path(parsed.suite))
    report = run_suite(suite, _endpoint(parsed), name=Path(parsed.suite).name)
    show(parsed, report.to_json(), "\n".join([*(r.verdict() for r in report.results), report.headline()]))
    return 0 if report.passed else 1


def _job(parsed: argparse.Namespace) -> TuningJob:
    return _service(parsed, parsed.job).get(parsed.job)


def _service(parsed: argparse.Namespace, job: str | None = None) -> TuningService:
    if job:
        check_job_name(job)
    location = location_of(job) if job else parsed.location
    credentials, project = _credentials()
    return TuningService(vertex_client(credentials, _project(parsed.project or project), location))


def _endpoint(parsed: argparse.Namespace) -> Endpoint:
    location = _location(parsed.endpoint) if "/" in parsed.endpoint else parsed.location
    credentials, project = _credentials()
    info = ModelTable.load().find(parsed.model or parsed.endpoint)
    client = vertex_client(credentials, _project(parsed.project or project), location)
    return Endpoint(client, parsed.endpoint, info.thinking if info else None)


def _location(name: str) -> str:
    try:
        return location_of(name)
    except ValueError as error:
        raise ConfigError(f"{error}.") from None


def _project(project: str | None) -> str:
    if not project:
        raise ConfigError("no project: name one with --project.")
    return project


def _credentials() -> tuple[Credentials, str | None]:
    import google.auth

    with google_errors("Loading the default credentials"):
        credentials, project = google.auth.default(scopes=[_SCOPE])
    return credentials, project
