"""What google-cloud-aiplatform's generated clients expect, over REST."""

from __future__ import annotations

import itertools
import json
import re
from typing import Any

import pytest
from google.api_core import exceptions
from tests.local_cloud.contract.prompting_contracts import QUESTION
from tests.local_cloud.contract.service import BASE_MODEL, MOST_PAGES, Service, agrees, cancelled, new_label, planted
from tests.local_cloud.contract.tuning_contracts import EVALUATION_REST, STATES, every_field

SERVICE_ACCOUNT = "tuner@local-dev.iam.gserviceaccount.com"


def job_message(service: Service, version: str, label: str, **fields: Any) -> Any:
    """The TuningJob with every field, of that version's own type."""
    document = every_field(service, label)
    del document["state"]
    return service.gapic(version).TuningJob.from_json(json.dumps({**document, **fields}))


def gapic_life_of_a_job(service: Service, version: str) -> None:
    """create, get, list, cancel: each answers what was sent."""
    aiplatform = service.gapic(version)
    client = service.gapic_client(version, "GenAiTuningServiceClient")
    label = new_label()
    sent = job_message(service, version, label, serviceAccount=SERVICE_ACCOUNT)
    created = client.create_tuning_job(parent=service.cloud.parent, tuning_job=sent)
    read = client.get_tuning_job(name=created.name)
    for job in (created, read):
        for name in (
            "base_model",
            "tuned_model_display_name",
            "description",
            "labels",
            "encryption_spec",
            "service_account",
            "supervised_tuning_spec",
        ):
            assert getattr(job, name) == getattr(sent, name), name
        assert job.state == aiplatform.JobState.JOB_STATE_PENDING
    assert re.fullmatch(r"projects/\d+/locations/us-central1/tuningJobs/\d+", created.name)
    assert read.create_time == created.create_time
    agrees(service.job(created.name), {**every_field(service, label), "serviceAccount": SERVICE_ACCOUNT})
    assert service.job(created.name)["supervisedTuningSpec"]["evaluationConfig"] == EVALUATION_REST
    request = aiplatform.ListTuningJobsRequest(parent=service.cloud.parent, filter=f'labels.run="{label}"')
    assert [job.name for job in client.list_tuning_jobs(request=request)] == [created.name]
    client.cancel_tuning_job(name=created.name)
    service.ends_as(created.name, "JOB_STATE_CANCELLED")
    assert client.get_tuning_job(name=created.name).state == aiplatform.JobState.JOB_STATE_CANCELLED


def gapic_lists(service: Service, version: str) -> None:
    """The pager walks through all pages."""
    aiplatform = service.gapic(version)
    client = service.gapic_client(version, "GenAiTuningServiceClient")
    label = new_label()
    names = [service.create(label)["name"] for _ in range(3)]
    request = aiplatform.ListTuningJobsRequest(parent=service.cloud.parent, filter=f'labels.run="{label}"', page_size=2)
    pages = itertools.islice(client.list_tuning_jobs(request=request).pages, MOST_PAGES)
    assert [[job.name for job in page.tuning_jobs] for page in pages] == [names[:0:-1], names[:1]]
    cancelled(service, names)


def gapic_finished_job(service: Service, version: str) -> None:
    """A finished job's results arrive whole."""
    aiplatform = service.gapic(version)
    job = service.gapic_client(version, "GenAiTuningServiceClient").get_tuning_job(name=service.tuned["name"])
    assert job.state == aiplatform.JobState.JOB_STATE_SUCCEEDED
    assert job.tuned_model.model == service.tuned["tunedModel"]["model"]
    assert [item.epoch for item in job.tuned_model.checkpoints] == [1, 2]
    stats = job.tuning_data_stats.supervised_tuning_data_stats
    assert stats.tuning_dataset_example_count == 8
    assert sum(bucket.count for bucket in stats.user_input_token_distribution.buckets) == 8
    assert stats.user_dataset_examples[0].parts[0].text
    assert job.create_time < job.start_time < job.end_time


def gapic_states(service: Service, version: str) -> None:
    """A job can be read in every state it can be in; one that failed says why."""
    aiplatform = service.gapic(version)
    client = service.gapic_client(version, "GenAiTuningServiceClient")
    for state in STATES:
        job = client.get_tuning_job(name=planted(service, state=state)["name"])
        assert job.state == aiplatform.JobState[state]
        assert job.error.code == {"JOB_STATE_FAILED": 13, "JOB_STATE_CANCELLED": 1}.get(state, 0)
        assert bool(job.error.message) is bool(job.error.code)


def gapic_errors(service: Service, version: str) -> None:
    """Refusals arrive as the exception of their status."""
    client = service.gapic_client(version, "GenAiTuningServiceClient")
    with pytest.raises(exceptions.NotFound):
        client.get_tuning_job(name=f"{service.cloud.parent}/tuningJobs/1")
    job = service.gapic(version).TuningJob(base_model=BASE_MODEL)
    with pytest.raises(exceptions.BadRequest, match="supervised_tuning_spec"):
        client.create_tuning_job(parent=service.cloud.parent, tuning_job=job)
    with pytest.raises(exceptions.BadRequest, match="cannot be cancelled"):
        client.cancel_tuning_job(name=service.tuned["name"])


def gapic_prompting(service: Service, version: str) -> None:
    """generateContent, its stream and countTokens through the prediction client."""
    aiplatform = service.gapic(version)
    client = service.gapic_client(version, "PredictionServiceClient")
    contents = [aiplatform.Content(role="user", parts=[aiplatform.Part(text=QUESTION)])]
    request = aiplatform.GenerateContentRequest(
        model=service.tuned["tunedModel"]["endpoint"],
        contents=contents,
        generation_config=aiplatform.GenerationConfig(temperature=0.0, max_output_tokens=20),
    )
    whole = client.generate_content(request=request)
    text = whole.candidates[0].content.parts[0].text
    settings = {"temperature": 0, "maxOutputTokens": 20}
    question = {"contents": {"parts": {"text": QUESTION}}, "generationConfig": settings}
    plain = service.json("POST", f"/{version}/{request.model}:generateContent", question)["candidates"][0]
    assert text == plain["content"]["parts"][0]["text"]
    assert whole.candidates[0].finish_reason.name == plain["finishReason"]
    pieces = list(client.stream_generate_content(request=request))
    assert "".join(piece.candidates[0].content.parts[0].text for piece in pieces) == text
    usage = whole.usage_metadata
    assert pieces[-1].usage_metadata == usage
    counter = service.gapic_client(version, "LlmUtilityServiceClient") if version == "v1" else client
    counted = counter.count_tokens(request=aiplatform.CountTokensRequest(endpoint=request.model, contents=contents))
    assert counted.total_tokens == usage.prompt_token_count > 0
    assert usage.total_token_count == usage.prompt_token_count + usage.candidates_token_count
