"""What google-genai and the generated tuning client expect of ``tuningJobs``."""

from __future__ import annotations

from typing import Any

import pytest
from google.genai import errors, types
from tests.local_cloud.contract.service import BASE_MODEL, Genai, Service, agrees, cancelled, new_label, planted

_KEY = "projects/local-dev/locations/us-central1/keyRings/ring/cryptoKeys/key"
_AVERAGES = ["AVERAGE", "STANDARD_DEVIATION"]  # google-genai adds them to every metric
# Each metric as google-genai's caller gives it, and as REST answers it.
_METRICS: list[tuple[Any, dict[str, Any]]] = [
    (types.Metric(name="bleu"), {"bleuSpec": {}}),
    (types.Metric(name="rouge_1"), {"rougeSpec": {"rougeType": "rouge1"}}),
    (
        types.Metric(
            name="relevance",
            prompt_template="How well does {response} answer {request}?",
            judge_model_system_instruction="Be strict.",
            return_raw_output=True,
        ),
        {
            "pointwiseMetricSpec": {
                "metricPromptTemplate": "How well does {response} answer {request}?",
                "systemInstruction": "Be strict.",
                "customOutputFormatConfig": {"returnRawOutput": True},
            }
        },
    ),
    (
        types.UnifiedMetric(bleu_spec=types.BleuSpec(use_effective_order=True)),
        {"bleuSpec": {"useEffectiveOrder": True}},
    ),
    (
        types.UnifiedMetric(
            llm_based_metric_spec=types.LLMBasedMetricSpec(
                metric_prompt_template="Rate {response}.",
                judge_autorater_config=types.AutoraterConfig(
                    sampling_count=2, generation_config=types.GenerationConfig(temperature=0.25)
                ),
                additional_config={"kept_as_it_is": 1},
            )
        ),
        {
            "llmBasedMetricSpec": {
                "metricPromptTemplate": "Rate {response}.",
                "judgeAutoraterConfig": {"samplingCount": 2, "generationConfig": {"temperature": 0.25}},
                "additionalConfig": {"kept_as_it_is": 1},
            }
        },
    ),
]
STATES = (
    "JOB_STATE_QUEUED",
    "JOB_STATE_PENDING",
    "JOB_STATE_RUNNING",
    "JOB_STATE_SUCCEEDED",
    "JOB_STATE_FAILED",
    "JOB_STATE_CANCELLING",
    "JOB_STATE_CANCELLED",
    "JOB_STATE_EXPIRED",
    "JOB_STATE_PARTIALLY_SUCCEEDED",
)
_ENDED = {f"JOB_STATE_{name}" for name in ("SUCCEEDED", "FAILED", "CANCELLED", "EXPIRED")}
EVALUATION = types.EvaluationConfig(
    metrics=[given for given, _ in _METRICS],
    output_config=types.OutputConfig(gcs_destination=types.GcsDestination(output_uri_prefix="gs://tuning/evaluation/")),
    autorater_config=types.AutoraterConfig(sampling_count=3, flip_enabled=True, autorater_model="judge"),
    inference_generation_config=types.GenerationConfig(
        temperature=0.5,
        max_output_tokens=1024,
        stop_sequences=["END"],
        response_schema=types.Schema(
            type=types.Type.OBJECT, properties={"shelf_name": types.Schema(type=types.Type.STRING, max_length=9)}
        ),
    ),
)
EVALUATION_REST = {
    "metrics": [{**answered, "aggregationMetrics": _AVERAGES} for _, answered in _METRICS],
    "outputConfig": {"gcsDestination": {"outputUriPrefix": "gs://tuning/evaluation/"}},
    "autoraterConfig": {"samplingCount": 3, "flipEnabled": True, "autoraterModel": "judge"},
    "inferenceGenerationConfig": {
        "temperature": 0.5,
        "maxOutputTokens": 1024,
        "stopSequences": ["END"],
        "responseSchema": {"type": "OBJECT", "properties": {"shelf_name": {"type": "STRING", "maxLength": "9"}}},
    },
}


def every_field(service: Service, label: str) -> dict[str, Any]:
    """The document of a job that was created with every field there is, as plain REST answers it."""
    return {
        "baseModel": BASE_MODEL,
        "tunedModelDisplayName": "Every field",
        "description": "What was sent is what is stored",
        "labels": {"run": label, "team": "search"},
        "encryptionSpec": {"kmsKeyName": _KEY},
        "supervisedTuningSpec": {
            "trainingDatasetUri": service.training_uri,
            "validationDatasetUri": service.validation_uri,
            "hyperParameters": {
                "epochCount": "3",
                "learningRateMultiplier": 0.5,
                "adapterSize": "ADAPTER_SIZE_TWO",
            },
            "exportLastCheckpointOnly": True,
            "evaluationConfig": EVALUATION_REST,
        },
        "state": "JOB_STATE_PENDING",
    }


def tune_with_genai(service: Service, client: Genai, label: str) -> types.TuningJob:
    """Create the job with every field."""
    job: types.TuningJob = client.call(
        "tunings.tune",
        base_model=BASE_MODEL,
        training_dataset=types.TuningDataset(gcs_uri=service.training_uri),
        config=types.CreateTuningJobConfig(
            tuned_model_display_name="Every field",
            description="What was sent is what is stored",
            epoch_count=3,
            learning_rate_multiplier=0.5,
            adapter_size=types.AdapterSize.ADAPTER_SIZE_TWO,
            export_last_checkpoint_only=True,
            validation_dataset=types.TuningValidationDataset(gcs_uri=service.validation_uri),
            labels={"run": label, "team": "search"},
            encryption_spec=types.EncryptionSpec(kms_key_name=_KEY),
            evaluation_config=EVALUATION,
        ),
    )
    return job


def genai_life_of_a_job(service: Service, client: Genai) -> None:
    """tune, get, list, cancel: each answers what was sent."""
    label = new_label()
    created = tune_with_genai(service, client, label)
    assert created.name
    _check_genai_job(service, created, label)
    read = client.call("tunings.get", name=created.name)
    _check_genai_job(service, read, label)
    assert (read.name, read.create_time) == (created.name, created.create_time)
    agrees(service.job(created.name), every_field(service, label))
    assert [job.name for page in client.pages("tunings.list", filter=f'labels.run="{label}"') for job in page] == [
        created.name
    ]
    client.call("tunings.cancel", name=created.name)
    ended = service.ends_as(created.name, "JOB_STATE_CANCELLED")
    assert ended["error"]["code"] == 1
    assert ended["endTime"]
    read = client.call("tunings.get", name=created.name)
    assert read.has_ended
    assert not read.has_succeeded


def _check_genai_job(service: Service, job: types.TuningJob, label: str) -> None:
    spec = job.supervised_tuning_spec
    assert spec
    assert spec.hyper_parameters == types.SupervisedHyperParameters(
        epoch_count=3, learning_rate_multiplier=0.5, adapter_size=types.AdapterSize.ADAPTER_SIZE_TWO
    )
    assert spec.training_dataset_uri == service.training_uri
    assert spec.validation_dataset_uri == service.validation_uri
    assert spec.export_last_checkpoint_only is True
    assert job.base_model == BASE_MODEL
    assert job.tuned_model_display_name == "Every field"
    assert job.description == "What was sent is what is stored"
    assert job.labels == {"run": label, "team": "search"}
    assert job.encryption_spec
    assert job.encryption_spec.kms_key_name == _KEY
    assert job.state == types.JobState.JOB_STATE_PENDING
    assert job.create_time
    assert not job.has_ended


def genai_finished_job(service: Service, client: Genai) -> None:
    """A job that ended well names its model, its checkpoints and what its data were like."""
    job = client.call("tunings.get", name=service.tuned["name"])
    assert job.has_succeeded
    assert job.start_time
    assert job.create_time < job.start_time < job.end_time
    assert job.experiment == service.tuned["experiment"]
    checkpoints = job.tuned_model.checkpoints
    assert [(item.checkpoint_id, item.epoch) for item in checkpoints] == [("1", 1), ("2", 2)]
    assert checkpoints[0].step * 2 == checkpoints[1].step
    assert job.tuned_model.endpoint == checkpoints[-1].endpoint != checkpoints[0].endpoint
    stats = job.tuning_data_stats.supervised_tuning_data_stats
    assert stats.tuning_dataset_example_count == 8
    assert stats.total_billable_token_count == stats.user_input_token_distribution.sum + (
        stats.user_output_token_distribution.sum
    )
    assert stats.user_dataset_examples[0].parts[0].text


def genai_lists(service: Service, client: Genai) -> None:
    """Pages hold each job once, newest first; filters find what they say."""
    label = new_label()
    names = [service.create(label, tunedModelDisplayName=f"{label} {n}")["name"] for n in range(5)]
    mine = f'labels.run="{label}"'
    pages = client.pages("tunings.list", page_size=2, filter=mine)
    assert [len(page) for page in pages] == [2, 2, 1]
    assert [job.name for page in pages for job in page] == names[::-1]

    def found(text: str) -> list[str]:
        return [job.name for page in client.pages("tunings.list", filter=text) for job in page]

    assert found(f'tuned_model_display_name="{label} 3"') == [names[3]]
    assert found(f'{mine} AND state="JOB_STATE_SUCCEEDED"') == []
    service.json("POST", f"/v1/{names[0]}:cancel")
    service.ends_as(names[0], "JOB_STATE_CANCELLED")
    assert found(f'{mine} AND state="JOB_STATE_CANCELLED"') == [names[0]]
    assert found(f'{mine} AND state="JOB_STATE_PENDING"') == names[:0:-1]
    cancelled(service, names[1:])


def genai_errors(service: Service, client: Genai) -> None:
    """Refusals arrive as ClientError with code, status and message."""

    def refusal(code: int, status: str, method: str, **arguments: Any) -> str:
        with pytest.raises(errors.ClientError) as refused:
            client.call(method, **arguments)
        assert (refused.value.code, refused.value.status) == (code, status)
        return str(refused.value.message)

    data = types.TuningDataset(gcs_uri=service.training_uri)
    assert "not found" in refusal(404, "NOT_FOUND", "tunings.get", name=service.tuned["name"].rpartition("/")[0] + "/1")
    assert "gemini-9" in refusal(
        400, "INVALID_ARGUMENT", "tunings.tune", base_model="gemini-9-ultra", training_dataset=data
    )
    oversized = types.CreateTuningJobConfig(adapter_size=types.AdapterSize.ADAPTER_SIZE_THIRTY_TWO)
    message = refusal(
        400, "INVALID_ARGUMENT", "tunings.tune", base_model=BASE_MODEL, training_dataset=data, config=oversized
    )
    assert message == "The adapter size is not supported for this base model."
    refusal(400, "FAILED_PRECONDITION", "tunings.cancel", name=service.tuned["name"])


def genai_states(service: Service, client: Genai) -> None:
    """A job can be read in every state it can be in; one that failed says why."""
    for state in STATES:
        name = planted(service, state=state, gcsMetricsUri="gs://tuning/metrics")["name"]
        job = client.call("tunings.get", name=name)
        assert job.state == types.JobState(state)
        assert job.has_ended is (state in _ENDED)
        assert job.gcs_metrics_uri == "gs://tuning/metrics"
        if state == "JOB_STATE_FAILED":
            assert job.error.code == 13
            assert job.error.message
            assert job.end_time


def genai_continuous_tuning(service: Service, client: Genai) -> None:
    """A job that starts from a tuned model says from which, and from which checkpoint."""
    label, model = new_label(), service.tuned["tunedModel"]["model"]
    job = client.call(
        "tunings.tune",
        base_model=model,
        training_dataset=types.TuningDataset(gcs_uri=service.training_uri),
        config=types.CreateTuningJobConfig(pre_tuned_model_checkpoint_id="1", epoch_count=1, labels={"run": label}),
    )
    assert job.pre_tuned_model == types.PreTunedModel(tuned_model_name=model, checkpoint_id="1", base_model=BASE_MODEL)
    assert job.base_model is None
    stored = {"tunedModelName": model, "checkpointId": "1", "baseModel": BASE_MODEL}
    agrees(service.job(job.name), {"preTunedModel": stored, "labels": {"run": label}})
    cancelled(service, [job.name])


def genai_preference_tuning(service: Service, client: Genai) -> None:
    """A job of preference tuning keeps its own specification."""
    label = new_label()
    job = client.call(
        "tunings.tune",
        base_model=BASE_MODEL,
        training_dataset=types.TuningDataset(gcs_uri=service.preference_uri),
        config=types.CreateTuningJobConfig(
            method=types.TuningMethod.PREFERENCE_TUNING,
            validation_dataset=types.TuningValidationDataset(gcs_uri=service.preference_uri),
            epoch_count=2,
            beta=0.25,
            adapter_size=types.AdapterSize.ADAPTER_SIZE_FOUR,
            learning_rate_multiplier=2.0,
            labels={"run": label},
        ),
    )
    hyper = {"epochCount": "2", "beta": 0.25, "adapterSize": "ADAPTER_SIZE_FOUR", "learningRateMultiplier": 2.0}
    stored = service.job(job.name)
    uris = dict.fromkeys(("trainingDatasetUri", "validationDatasetUri"), service.preference_uri)
    agrees(stored["preferenceOptimizationSpec"], {**uris, "hyperParameters": hyper})
    assert "supervisedTuningSpec" not in stored
    assert job.preference_optimization_spec.hyper_parameters.beta == 0.25
    assert job.preference_optimization_spec.hyper_parameters.epoch_count == 2
    cancelled(service, [job.name])
