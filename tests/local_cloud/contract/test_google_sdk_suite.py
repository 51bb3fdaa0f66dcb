"""The test suite that google-genai ships for its tuning calls, unchanged, against the local cloud."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from tests.local_cloud.conftest import TRAINING
from tests.local_cloud.contract.rehearsals import plant, rehearse
from tests.local_cloud.services import running_local_cloud

if TYPE_CHECKING:
    from tests.local_cloud.services import LocalCloud

PROJECT = "801452371447"
_US_CENTRAL1 = f"projects/{PROJECT}/locations/us-central1"
_MODEL = f"{_US_CENTRAL1}/models/9030969596621881344@1"
# What the suite expects to be there.
_JOBS = (
    {"name": f"{_US_CENTRAL1}/tuningJobs/4303478340632707072", "state": "JOB_STATE_SUCCEEDED"},
    {
        "name": f"{_US_CENTRAL1}/tuningJobs/8520221517529743360",
        "state": "JOB_STATE_SUCCEEDED",
        "preTunedModel": {"tunedModelName": _MODEL, "checkpointId": "3"},
    },
    {"name": f"{_US_CENTRAL1}/tuningJobs/2470687341547618304", "state": "JOB_STATE_RUNNING"},
    {
        "name": f"{_US_CENTRAL1}/tuningJobs/1000000000000000001",
        "state": "JOB_STATE_SUCCEEDED",
        "tunedModel": {
            "model": _MODEL,
            "endpoint": f"{_US_CENTRAL1}/endpoints/3",
            "checkpoints": [
                {"checkpointId": n, "epoch": n, "step": n, "endpoint": f"{_US_CENTRAL1}/endpoints/{n}"} for n in "123"
            ],
        },
    },
    {
        "name": f"projects/{PROJECT}/locations/us/tuningJobs/8841410493458415616",
        "state": "JOB_STATE_SUCCEEDED",
        "gcsMetricsUri": "gs://tuning/metrics",
    },
)
# The suite waits for the end of the first three jobs it creates, and only creates the others.
_ONLY_AWAITED_JOBS_TRAIN = {"skip": 3, "times": None, "seconds": {"PENDING": 3600}}
# Those three need not learn much; the other datasets the suite names are not there.
_BUCKET = "cloud-samples-data"
_AWAITED_JOBS_LEARN = "ai-platform/generative_ai/gemini-2_0/text/sft_train_data.jsonl"
PASS = {
    "test_cancel": {"test_cancel_vertex"},
    "test_end_to_end": {"test_tune_until_success", "test_continuous_tuning"},
    "test_get": {
        "test_vertexai",
        "test_vertexai_with_pretuned_model",
        "test_mldev",
        "test_helper_properties",
        "test_gcs_metrics_uri",
    },
    "test_list": {"test_default", "test_with_config", "test_pager", "test_async_pager"},
    "test_tune": {
        "test_dataset_gcs_uri",
        "test_dataset_gcs_uri_all_parameters",
        "test_dataset_vertex_dataset_resource",
        "test_dataset_dataset_resource_all_parameters",
        "test_tune_pretuned_model",
        "test_tune_pretuned_model_with_checkpoint_id",
        "test_non_pretuned_model_with_checkpoint_id",
        "test_tune_simple_dpo",
        "test_tune_dpo_with_beta",
        "test_tune_encryption_spec",
        "test_eval_config",
        "test_eval_config_with_metrics",
        "test_eval_config_with_unified_metrics",
        "test_eval_config_with_metrics_dict",
        "test_eval_config_async",
    },
}
_OPEN_MODELS = "open models are tuned by another service"
_DISTILLATION = "distillation is not imitated"
_REINFORCEMENT = "reinforcement tuning is not imitated"
OUT_OF_REACH = {
    "test_tune": {
        "test_tune_oss_sft": _OPEN_MODELS,
        "test_tune_oss_sft_hyperparams": _OPEN_MODELS,
        "test_tune_distillation": _DISTILLATION,
        "test_tune_oss_distillation": _DISTILLATION,
        "test_tune_oss_distillation_hyperparams": _DISTILLATION,
        "test_tune_reinforcement": _REINFORCEMENT,
        "test_tune_reinforcement_composite": _REINFORCEMENT,
    },
    "test_validate_reward": dict.fromkeys(
        (
            "test_validate_reward_single_autorater",
            "test_validate_reward_code_execution",
            "test_validate_reward_string_match",
            "test_validate_reward_composite",
        ),
        _REINFORCEMENT,
    ),
}


def test_the_suite_passes_as_far_as_the_local_cloud_goes(tmp_path: Path) -> None:
    """Every test of the suite is in one of the lists above: a new one is noticed."""
    with running_local_cloud(tmp_path / "cloud", bucket=_BUCKET, pending_seconds=0) as cloud:
        cloud.storage().bucket(_BUCKET).blob(_AWAITED_JOBS_LEARN).upload_from_string(json.dumps(TRAINING[0]))
        for job in _JOBS:
            plant(cloud, job)
        with cloud.http() as client:
            client.patch("/_local/settings", json={"sample_for_missing_datasets": True}).raise_for_status()
            client.post("/_local/scenarios", json=_ONLY_AWAITED_JOBS_TRAIN).raise_for_status()
        passed, failed, output = _run(cloud, tmp_path)
    assert passed == PASS, output
    assert {module: set(tests) for module, tests in failed.items()} == {
        module: set(tests) for module, tests in OUT_OF_REACH.items()
    }, output
    for tests in failed.values():
        for name, message in tests.items():
            assert "google.genai.errors" in message, f"{name} is not refused: {message}"


def _run(cloud: LocalCloud, directory: Path) -> tuple[dict[str, set[str]], dict[str, dict[str, str]], str]:
    """Run the suite; return by module what passed, what failed with its message, and what was printed."""
    import google.genai

    suite = Path(google.genai.__file__).parent / "tests" / "tunings"
    configuration = directory / "pytest.ini"  # of this run, not of a project around it
    configuration.write_text("[pytest]\n")
    options = ["--mode=api", "-c", str(configuration), "--rootdir", str(directory), "-p", "no:cacheprovider", "-q"]
    modes = ["--import-mode=importlib", "-o", "consider_namespace_packages=true", "-o", "junit_logging=no"]
    report = directory / "report.xml"
    done = rehearse(
        cloud,
        ["-m", "pytest", str(suite), *options, *modes, "--tb=line", f"--junitxml={report}"],
        directory,
        PROJECT,
        GOOGLE_GENAI_REPLAYS_DIRECTORY=str(directory / "replays"),
        GOOGLE_GENAI_RUN_VERTEX_ONLY_IN_API_MODE="1",
    )
    assert report.exists(), done.stdout + done.stderr
    passed: dict[str, set[str]] = {}
    failed: dict[str, dict[str, str]] = {}
    for case in ElementTree.parse(report).iter("testcase"):
        name = case.attrib["name"].partition("[")[0]
        module = case.attrib["classname"].rpartition(".")[2]
        failure = next((item for item in case if item.tag in ("failure", "error")), None)
        if failure is not None:
            failed.setdefault(module, {})[name] = failure.attrib["message"]
        elif case.find("skipped") is None:
            passed.setdefault(module, set()).add(name)
    return passed, failed, done.stdout[-5000:]
