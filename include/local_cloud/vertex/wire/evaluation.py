"""How a tuned model is to be evaluated: ``evaluationConfig`` of a tuning job.

Taken from the proto ``google.cloud.aiplatform.v1beta1`` (evaluation_service). google-genai sends everything below
``metrics`` in snake_case and reads camelCase, so that every message of it has to be known here. This server evaluates
nothing; it keeps the configuration and answers it.
"""

from __future__ import annotations

from local_cloud.vertex.wire.generation import GENERATION_CONFIG
from local_cloud.vertex.wire.kinds import BOOL, DOUBLE, INT32, STRING, STRUCT, Enum, Kind, Many, Map, Message

_AGGREGATION = Enum(
    "Metric.AggregationMetric",
    (
        "AGGREGATION_METRIC_UNSPECIFIED",
        "AVERAGE",
        "MODE",
        "STANDARD_DEVIATION",
        "VARIANCE",
        "MINIMUM",
        "MAXIMUM",
        "MEDIAN",
        "PERCENTILE_P90",
        "PERCENTILE_P95",
        "PERCENTILE_P99",
    ),
)
_COMPUTATION = Enum(
    "ComputationBasedMetricSpec.ComputationBasedMetricType",
    ("COMPUTATION_BASED_METRIC_TYPE_UNSPECIFIED", "EXACT_MATCH", "BLEU", "ROUGE"),
)
_RUBRIC_CONTENT = Enum(
    "RubricGenerationSpec.RubricContentType",
    ("RUBRIC_CONTENT_TYPE_UNSPECIFIED", "PROPERTY", "NL_QUESTION_ANSWER", "PYTHON_CODE_ASSERTION"),
)

_AUTORATER = Message({
    "samplingCount": INT32,
    "flipEnabled": BOOL,
    "autoraterModel": STRING,
    "generationConfig": GENERATION_CONFIG,
})
_RAW_OUTPUT = Message({"returnRawOutput": BOOL})
_PREDEFINED = Message({
    "metricSpecName": STRING,
    "metricSpecParameters": STRUCT,
    "stepAutoraterConfigs": Map(_AUTORATER),
})
_RUBRICS = Message({
    "promptTemplate": STRING,
    "modelConfig": _AUTORATER,
    "rubricContentType": _RUBRIC_CONTENT,
    "rubricTypeOntology": Many(STRING),
})
_LLM_BASED = Message(
    {
        "rubricGroupKey": STRING,
        "rubricGenerationSpec": _RUBRICS,
        "predefinedRubricGenerationSpec": _PREDEFINED,
        "metricPromptTemplate": STRING,
        "systemInstruction": STRING,
        "judgeAutoraterConfig": _AUTORATER,
        "additionalConfig": STRUCT,
        "resultParserConfig": Message({
            "customCodeParserConfig": Message({"parsingFunction": STRING, "codeExecutionRegion": STRING}),
        }),
    },
    {"rubrics_source": ("rubricGroupKey", "rubricGenerationSpec", "predefinedRubricGenerationSpec")},
)
_PROMPTED: dict[str, Kind] = {
    "metricPromptTemplate": STRING,
    "systemInstruction": STRING,
    "customOutputFormatConfig": _RAW_OUTPUT,
}
_SPECS: dict[str, Kind] = {
    "predefinedMetricSpec": _PREDEFINED,
    "computationBasedMetricSpec": Message({"type": _COMPUTATION, "parameters": STRUCT}),
    "llmBasedMetricSpec": _LLM_BASED,
    "customCodeExecutionSpec": Message({"evaluationFunction": STRING, "codeExecutionRegion": STRING}),
    "pointwiseMetricSpec": Message(_PROMPTED),
    "pairwiseMetricSpec": Message({
        **_PROMPTED,
        "candidateResponseFieldName": STRING,
        "baselineResponseFieldName": STRING,
    }),
    "exactMatchSpec": Message({}),
    "bleuSpec": Message({"useEffectiveOrder": BOOL}),
    "rougeSpec": Message({"rougeType": STRING, "useStemmer": BOOL, "splitSummaries": BOOL}),
}
_METRIC = Message(
    {
        **_SPECS,
        "aggregationMetrics": Many(_AGGREGATION),
        "metadata": Message({
            "title": STRING,
            "scoreRange": Message({**dict.fromkeys(("min", "max", "step"), DOUBLE), "description": STRING}),
            "otherMetadata": STRUCT,
        }),
    },
    {"metric_spec": tuple(_SPECS)},
)

EVALUATION_CONFIG = Message({
    "metrics": Many(_METRIC),
    "outputConfig": Message({"gcsDestination": Message({"outputUriPrefix": STRING})}),
    "autoraterConfig": _AUTORATER,
    "inferenceGenerationConfig": GENERATION_CONFIG,
})
