"""Preference tuning, as Google's documentation samples ask for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import pytest
from google.genai import types
from tests.local_cloud.services import LocalCloud, wait_for_job

if TYPE_CHECKING:
    from google import genai

COLOURS = ("red", "green", "blue", "black", "white", "brown", "grey", "pink")


def pair(question: str, better: str, worse: str) -> dict[str, Any]:
    def answer(text: str) -> dict[str, Any]:
        return {"role": "model", "parts": [{"text": text}]}

    scored = [{"score": 1, "completion": answer(better)}, {"score": 0, "completion": answer(worse)}]
    return {"contents": [{"role": "user", "parts": [{"text": question}]}], "completions": scored}


PAIRS = [pair(f"Where is the {c} paint?", f"Please look on shelf {c}-1.", f"Find {c} yourself.") for c in COLOURS]


@pytest.fixture(scope="module")
def preferred(local_cloud: LocalCloud, genai_client: genai.Client, vertex: httpx.Client) -> dict[str, Any]:
    uri = local_cloud.upload("pairs/train.jsonl", PAIRS)
    job = genai_client.tunings.tune(
        base_model="gemini-2.5-flash",
        training_dataset=types.TuningDataset(gcs_uri=uri),
        config=types.CreateTuningJobConfig(
            method=types.TuningMethod.PREFERENCE_TUNING,
            beta=0.3,
            epoch_count=40,
            validation_dataset=types.TuningValidationDataset(gcs_uri=uri),
        ),
    )
    assert job.name
    ended = wait_for_job(vertex, job.name)
    assert ended["state"] == "JOB_STATE_SUCCEEDED", ended
    return ended


def test_the_preferred_answer_is_given(genai_client: genai.Client, preferred: dict[str, Any]) -> None:
    answer = genai_client.models.generate_content(
        model=preferred["tunedModel"]["endpoint"],
        contents="Where is the blue paint?",
        config=types.GenerateContentConfig(temperature=0),
    )
    assert answer.text == "Please look on shelf blue-1."


def test_the_job_shows_what_it_was_asked_for(genai_client: genai.Client, preferred: dict[str, Any]) -> None:
    spec = preferred["preferenceOptimizationSpec"]
    assert spec["hyperParameters"]["beta"] == 0.3
    assert spec["hyperParameters"]["epochCount"] == "40"
    stats = preferred["tuningDataStats"]["preferenceOptimizationDataStats"]
    assert stats["tuningDatasetExampleCount"] == "8"
    assert int(stats["totalBillableTokenCount"]) > 0
    job = genai_client.tunings.get(name=preferred["name"])
    assert job.preference_optimization_spec
    assert job.tuning_data_stats
    assert job.tuning_data_stats.preference_optimization_data_stats


def test_a_row_without_a_choice_is_refused(local_cloud: LocalCloud, vertex: httpx.Client) -> None:
    uri = local_cloud.upload("pairs/bad.jsonl", [PAIRS[0], {**PAIRS[0], "completions": PAIRS[0]["completions"][:1]}])
    body = {"baseModel": "gemini-2.5-flash", "preferenceOptimizationSpec": {"trainingDatasetUri": uri}}
    response = vertex.post(f"/v1/{local_cloud.parent}/tuningJobs", json=body)
    assert response.status_code == 400, response.text
    assert response.json()["error"]["message"].startswith("Row: 1.")
