"""Plain REST with bodies as Google's documentation prints them: both spellings, single objects for lists, old roles."""

from __future__ import annotations

from typing import Any

from tests.local_cloud.contract.service import BASE_MODEL, MOST_PAGES, Service, agrees, cancelled, new_label


def rest_bodies(service: Service) -> None:
    """Every spelling of a job means the same job."""
    label = new_label()
    # "Create a tuning job" of the Tuning API page, then the same in proto names, then as older pages mix them
    bodies: list[dict[str, Any]] = [
        {
            "baseModel": BASE_MODEL,
            "supervisedTuningSpec": {
                "trainingDatasetUri": service.training_uri,
                "validationDatasetUri": service.validation_uri,
                "hyperParameters": {
                    "epochCount": 4,
                    "adapterSize": "ADAPTER_SIZE_EIGHT",
                    "learningRateMultiplier": 1.5,
                },
                "exportLastCheckpointOnly": True,
            },
            "tunedModelDisplayName": "spelled",
            "labels": {"run": label},
        },
        {
            "base_model": BASE_MODEL,
            "supervised_tuning_spec": {
                "training_dataset_uri": service.training_uri,
                "validation_dataset_uri": service.validation_uri,
                "hyper_parameters": {
                    "epoch_count": "4",
                    "adapter_size": 3,
                    "learning_rate_multiplier": "1.5",
                },
                "export_last_checkpoint_only": True,
            },
            "tuned_model_display_name": "spelled",
            "labels": {"run": label},
        },
        {
            "baseModel": BASE_MODEL,
            "supervisedTuningSpec": {
                "training_dataset_uri": service.training_uri,
                "validationDatasetUri": service.validation_uri,
                "hyper_parameters": {
                    "epochCount": 4.0,
                    "adapterSize": "ADAPTER_SIZE_EIGHT",
                    "learningRateMultiplier": 1.5,
                },
                "exportLastCheckpointOnly": True,
            },
            "tunedModelDisplayName": "spelled",
            "description": None,
            "labels": {"run": label},
        },
    ]
    stored = {
        "baseModel": BASE_MODEL,
        "supervisedTuningSpec": {
            "trainingDatasetUri": service.training_uri,
            "validationDatasetUri": service.validation_uri,
            "hyperParameters": {
                "epochCount": "4",
                "adapterSize": "ADAPTER_SIZE_EIGHT",
                "learningRateMultiplier": 1.5,
            },
            "exportLastCheckpointOnly": True,
        },
        "tunedModelDisplayName": "spelled",
        "labels": {"run": label},
        "state": "JOB_STATE_PENDING",
    }
    for version in ("v1", "v1beta1"):
        for body in bodies:
            created = service.json("POST", f"/{version}/{service.cloud.parent}/tuningJobs", body)
            agrees(created, stored)
            agrees(service.job(created["name"], version), stored)
            assert "description" not in created
            assert service.json("POST", f"/{version}/{created['name']}:cancel") == {}


def rest_lists(service: Service) -> None:
    """curl with a page size follows nextPageToken to the end, in both spellings of the parameters."""
    label = new_label()
    names = [service.create(label)["name"] for _ in range(3)]
    for size, token in (("pageSize", "pageToken"), ("page_size", "page_token")):
        query = {"filter": f'labels.run="{label}"', size: "1"}
        found = []
        for _ in range(MOST_PAGES):
            answer = service.plain.get(f"/v1/{service.cloud.parent}/tuningJobs", params=query).json()
            assert set(answer) <= {"tuningJobs", "nextPageToken"}
            assert len(answer["tuningJobs"]) == 1
            found += [job["name"] for job in answer["tuningJobs"]]
            if "nextPageToken" not in answer:
                break
            query[token] = answer["nextPageToken"]
        assert found == names[::-1]
    nothing = service.plain.get(f"/v1/{service.cloud.parent}/tuningJobs", params={"filter": 'labels.run="none"'})
    assert nothing.json() == {}
    cancelled(service, names)


def rest_prompts(service: Service) -> None:
    """The prompt of the older tuning pages: upper-case role, bare objects, snake_case settings."""
    body = {
        "contents": {"role": "USER", "parts": {"text": "Which shelf holds the red paint?"}},
        "generation_config": {"temperature": 0, "max_output_tokens": 5, "top_k": "40"},
        "safety_settings": {"category": "HARM_CATEGORY_HATE_SPEECH", "threshold": "BLOCK_ONLY_HIGH"},
        "system_instruction": {"parts": {"text": "Be brief."}},
    }
    models = (f"{service.cloud.parent}/publishers/google/models/{BASE_MODEL}", service.tuned["tunedModel"]["endpoint"])
    for model in models:
        for version in ("v1", "v1beta1"):
            whole = service.json("POST", f"/{version}/{model}:generateContent", body)
            candidate = whole["candidates"][0]
            assert candidate["content"]["role"] == "model"
            assert candidate["finishReason"] in ("MAX_TOKENS", "STOP")
            assert whole["usageMetadata"]["candidatesTokenCount"] <= 5
            answer = service.plain.post(f"/{version}/{model}:streamGenerateContent?alt=sse", json=body)
            assert answer.headers["content-type"].startswith("text/event-stream")
            pieces = service.exchanges[-1].answers
            texts = [piece["candidates"][0]["content"]["parts"][0]["text"] for piece in pieces]
            assert "".join(texts) == candidate["content"]["parts"][0]["text"]
    counted = service.json("POST", f"/v1/{models[1]}:countTokens", {"contents": body["contents"]})
    assert counted["totalTokens"] > 0


def rest_enum_encoding(service: Service) -> None:
    """``enum-encoding=int`` turns enums into numbers, and only then."""
    name = service.tuned["name"]
    named = service.job(name)
    numbered = service.json("GET", f"/v1beta1/{name}?$alt=json%3Benum-encoding%3Dint")
    assert (named["state"], numbered["state"]) == ("JOB_STATE_SUCCEEDED", 4)
    sizes = [job["supervisedTuningSpec"]["hyperParameters"]["adapterSize"] for job in (named, numbered)]
    assert sizes == ["ADAPTER_SIZE_FOUR", 2]


def rest_refuses_unknown_fields(service: Service) -> None:
    """A field that no message has is named in a 400, not dropped."""
    for field in ("surprise", "validationDataset_uris"):
        body = {"baseModel": BASE_MODEL, "supervisedTuningSpec": {"trainingDatasetUri": service.training_uri, field: 1}}
        error = service.json("POST", f"/v1/{service.cloud.parent}/tuningJobs", body, status=400)["error"]
        assert error["status"] == "INVALID_ARGUMENT"
        assert field in error["message"]
        assert error["details"][0]["@type"] == "type.googleapis.com/google.rpc.BadRequest"
