"""The messages of tuning jobs and their metrics.

Taken from the protos ``google.cloud.aiplatform.v1`` and ``v1beta1`` (tuning_job, tensorboard). Of the tuning specs that
are not imitated only the names are known.
"""

from __future__ import annotations

from local_cloud.vertex.wire.evaluation import EVALUATION_CONFIG
from local_cloud.vertex.wire.kinds import (
    ANYTHING,
    BOOL,
    DOUBLE,
    INT64,
    STRING,
    STRUCT,
    TEXTS,
    Enum,
    Kind,
    Many,
    Message,
)


def _enum(type_name: str, prefix: str, names: str) -> Enum:
    return Enum(type_name, tuple(prefix + name for name in names.split()))


JOB_STATE = _enum(
    "JobState",
    "JOB_STATE_",
    "UNSPECIFIED QUEUED PENDING RUNNING SUCCEEDED FAILED CANCELLING CANCELLED PAUSED EXPIRED UPDATING"
    " PARTIALLY_SUCCEEDED",
)
TUNING_JOB_STATE = _enum(
    "TuningJobState",
    "TUNING_JOB_STATE_",
    "UNSPECIFIED WAITING_FOR_QUOTA PROCESSING_DATASET WAITING_FOR_CAPACITY TUNING POST_PROCESSING",
)
# The wire numbers are not in size order: TWO came last.
ADAPTER_SIZE = _enum("AdapterSize", "ADAPTER_SIZE_", "UNSPECIFIED ONE FOUR EIGHT SIXTEEN THIRTY_TWO TWO")
ADAPTER_SIZES = {
    f"ADAPTER_SIZE_{name}": size
    for name, size in {"ONE": 1, "TWO": 2, "FOUR": 4, "EIGHT": 8, "SIXTEEN": 16, "THIRTY_TWO": 32}.items()
}
_TUNING_MODE = _enum("TuningMode", "TUNING_MODE_", "UNSPECIFIED FULL PEFT_ADAPTER")
_VALUE_TYPE = _enum("TensorboardTimeSeries.ValueType", "", "VALUE_TYPE_UNSPECIFIED SCALAR TENSOR BLOB_SEQUENCE")

HYPER_PARAMETERS = Message({
    "epochCount": INT64,
    "learningRateMultiplier": DOUBLE,
    "learningRate": DOUBLE,
    "adapterSize": ADAPTER_SIZE,
    "batchSize": INT64,
})
SUPERVISED_TUNING_SPEC = Message({
    "trainingDatasetUri": STRING,
    "validationDatasetUri": STRING,
    "hyperParameters": HYPER_PARAMETERS,
    "exportLastCheckpointOnly": BOOL,
    "evaluationConfig": EVALUATION_CONFIG,
    "tuningMode": _TUNING_MODE,
})
_CHECKPOINT = Message({"checkpointId": STRING, "epoch": INT64, "step": INT64, "endpoint": STRING})
_BUCKET = Message({"count": DOUBLE, "left": DOUBLE, "right": DOUBLE})
_DISTRIBUTION = Message({
    "sum": INT64,
    "billableSum": INT64,
    **dict.fromkeys(("min", "max", "mean", "median", "p5", "p95"), DOUBLE),
    "buckets": Many(_BUCKET),
})
_SUPERVISED_STATS = Message({
    "tuningDatasetExampleCount": INT64,
    "totalTuningCharacterCount": INT64,
    "totalBillableTokenCount": INT64,
    "tuningStepCount": INT64,
    "userInputTokenDistribution": _DISTRIBUTION,
    "userOutputTokenDistribution": _DISTRIBUTION,
    "userMessagePerExampleDistribution": _DISTRIBUTION,
    "userDatasetExamples": Many(STRUCT),
    "totalTruncatedExampleCount": INT64,
    "truncatedExampleIndices": Many(INT64),
    "droppedExampleReasons": Many(STRING),
})
# Not in the protos; google-genai knows them, and Google's samples ask v1 for them.
_PREFERENCE_STATS = Message({
    **{name: kind for name, kind in _SUPERVISED_STATS.fields.items() if name != "truncatedExampleIndices"},
    "droppedExampleIndices": Many(INT64),
})
PREFERENCE_OPTIMIZATION_SPEC = Message({
    "trainingDatasetUri": STRING,
    "validationDatasetUri": STRING,
    "hyperParameters": Message({
        "adapterSize": ADAPTER_SIZE,
        "beta": DOUBLE,
        "epochCount": INT64,
        "learningRateMultiplier": DOUBLE,
    }),
    "exportLastCheckpointOnly": BOOL,
})
# What every version answers.
_TUNING_JOB_FIELDS: dict[str, Kind] = {
    "name": STRING,
    "tunedModelDisplayName": STRING,
    "baseModel": STRING,
    "preTunedModel": Message({"tunedModelName": STRING, "checkpointId": STRING, "baseModel": STRING}),
    "supervisedTuningSpec": SUPERVISED_TUNING_SPEC,
    "preferenceOptimizationSpec": PREFERENCE_OPTIMIZATION_SPEC,
    "description": STRING,
    "labels": TEXTS,
    "encryptionSpec": Message({"kmsKeyName": STRING}),
    "serviceAccount": STRING,
    "state": JOB_STATE,
    "createTime": STRING,
    "startTime": STRING,
    "endTime": STRING,
    "updateTime": STRING,
    "error": STRUCT,
    "experiment": STRING,
    "tunedModel": Message({"model": STRING, "endpoint": STRING, "checkpoints": Many(_CHECKPOINT)}),
    "tuningDataStats": Message({
        "supervisedTuningDataStats": _SUPERVISED_STATS,
        "preferenceOptimizationDataStats": _PREFERENCE_STATS,
    }),
}
_OTHER_TUNING_SPECS = (
    "distillationSpec",
    "reinforcementTuningSpec",
    "partnerModelTuningSpec",
    "veoTuningSpec",
    "veoLoraTuningSpec",
)
NOT_IMITATED = ("customBaseModel", *_OTHER_TUNING_SPECS)
_BETA_FIELDS: dict[str, Kind] = {
    **_TUNING_JOB_FIELDS,
    "tuningJobState": TUNING_JOB_STATE,
    "tuningJobMetadata": Message({"completedEpochCount": INT64, "completedStepCount": INT64}),
}
_NEWER_FIELDS: dict[str, Kind] = {"gcsMetricsUri": STRING, "evaluateDatasetRuns": Many(STRUCT)}
TUNING_JOB_REQUEST = Message({
    **_BETA_FIELDS,
    **dict.fromkeys((*_OTHER_TUNING_SPECS, *_NEWER_FIELDS), ANYTHING),
    **dict.fromkeys(("customBaseModel", "pipelineJob", "outputUri"), STRING),
})
PLANTED_JOB = Message({**_BETA_FIELDS, **_NEWER_FIELDS, "state": STRING})
TUNING_JOB = {
    "v1": Message({**_TUNING_JOB_FIELDS, **_NEWER_FIELDS}),
    "v1beta1": Message({**_BETA_FIELDS, **_NEWER_FIELDS}),
}

TIME_SERIES = Message({
    "name": STRING,
    "displayName": STRING,
    "valueType": _VALUE_TYPE,
    "createTime": STRING,
    "updateTime": STRING,
    "pluginName": STRING,
    "metadata": Message({"maxStep": INT64, "maxWallTime": STRING}),
})
TIME_SERIES_DATA = Message({
    "tensorboardTimeSeriesId": STRING,
    "valueType": _VALUE_TYPE,
    "values": Many(Message({"wallTime": STRING, "step": INT64, "scalar": Message({"value": DOUBLE})})),
})
