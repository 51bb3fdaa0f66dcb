"""The messages of prompting: contents, and what ``generateContent`` and ``countTokens`` are asked and answer.

Taken from the protos ``google.cloud.aiplatform.v1`` and ``v1beta1`` (content, prediction_service).
"""

from __future__ import annotations

from local_cloud.vertex.wire.generation import GENERATION_CONFIG
from local_cloud.vertex.wire.kinds import (
    ANYTHING,
    BOOL,
    BYTES,
    DOUBLE,
    INT32,
    STRING,
    STRUCT,
    TEXTS,
    Enum,
    Many,
    Message,
)

CONTENT = Message({
    "role": STRING,
    "parts": Many(
        Message({
            "text": STRING,
            "thought": BOOL,
            "thoughtSignature": BYTES,
            **dict.fromkeys(
                (
                    "inlineData",
                    "fileData",
                    "functionCall",
                    "functionResponse",
                    "executableCode",
                    "codeExecutionResult",
                    "videoMetadata",
                    "mediaResolution",
                    "audioTranscription",
                    "mediaProcessing",
                    "speechMetadata",
                    "toolCall",
                    "toolResponse",
                    "partMetadata",
                ),
                STRUCT,
            ),
        })
    ),
})
GENERATE_CONTENT_REQUEST = Message({
    "model": STRING,
    "contents": Many(CONTENT),
    "systemInstruction": CONTENT,
    "generationConfig": GENERATION_CONFIG,
    "cachedContent": STRING,
    "labels": TEXTS,
    "tools": Many(STRUCT),
    "safetySettings": Many(STRUCT),
    **dict.fromkeys(("toolConfig", "modelArmorConfig"), STRUCT),
    **dict.fromkeys(("serviceTier", "audioTranscriptionConfig", "continuationToken", "outputConfig"), ANYTHING),
})
COUNT_TOKENS_REQUEST = Message({
    "endpoint": STRING,
    "model": STRING,
    "instances": Many(ANYTHING),
    "contents": Many(CONTENT),
    "systemInstruction": CONTENT,
    "generationConfig": GENERATION_CONFIG,
    "tools": Many(STRUCT),
})

_FINISH_REASON = Enum(
    "Candidate.FinishReason",
    (
        *("FINISH_REASON_UNSPECIFIED", "STOP", "MAX_TOKENS", "SAFETY", "RECITATION", "OTHER", "BLOCKLIST"),
        *("PROHIBITED_CONTENT", "SPII", "MALFORMED_FUNCTION_CALL", "MODEL_ARMOR"),
    ),
)
_BLOCKED_REASON = Enum(
    "GenerateContentResponse.PromptFeedback.BlockedReason",
    (
        *("BLOCKED_REASON_UNSPECIFIED", "SAFETY", "OTHER", "BLOCKLIST", "PROHIBITED_CONTENT", "MODEL_ARMOR"),
        "JAILBREAK",
    ),
)
_LEVELS = ("NEGLIGIBLE", "LOW", "MEDIUM", "HIGH")
_HARMS = ("UNSPECIFIED", "HATE_SPEECH", "DANGEROUS_CONTENT", "HARASSMENT", "SEXUALLY_EXPLICIT")
_SAFETY_RATINGS = Many(
    Message({
        "category": Enum("HarmCategory", tuple(f"HARM_CATEGORY_{harm}" for harm in _HARMS)),
        "probability": Enum("SafetyRating.HarmProbability", ("HARM_PROBABILITY_UNSPECIFIED", *_LEVELS)),
        "probabilityScore": DOUBLE,
        "severity": Enum(
            "SafetyRating.HarmSeverity", tuple(f"HARM_SEVERITY_{level}" for level in ("UNSPECIFIED", *_LEVELS))
        ),
        "severityScore": DOUBLE,
        "blocked": BOOL,
    })
)
_DETAILS = Many(Message({"modality": Enum("Modality", ("MODALITY_UNSPECIFIED", "TEXT")), "tokenCount": INT32}))
GENERATE_CONTENT_RESPONSE = Message({
    "candidates": Many(
        Message({
            "index": INT32,
            "content": CONTENT,
            "avgLogprobs": DOUBLE,
            "finishReason": _FINISH_REASON,
            "finishMessage": STRING,
            "safetyRatings": _SAFETY_RATINGS,
        })
    ),
    "promptFeedback": Message({
        "blockReason": _BLOCKED_REASON,
        "blockReasonMessage": STRING,
        "safetyRatings": _SAFETY_RATINGS,
    }),
    "usageMetadata": Message({
        **dict.fromkeys(("promptTokenCount", "candidatesTokenCount", "totalTokenCount"), INT32),
        **dict.fromkeys(("promptTokensDetails", "candidatesTokensDetails"), _DETAILS),
    }),
    **dict.fromkeys(("modelVersion", "createTime", "responseId"), STRING),
})
COUNT_TOKENS_RESPONSE = Message({
    **dict.fromkeys(("totalTokens", "totalBillableCharacters"), INT32),
    "promptTokensDetails": _DETAILS,
})
