"""The messages of prompting: contents, generation settings, and what ``generateContent`` and ``countTokens`` are asked.

Taken from the protos ``google.cloud.aiplatform.v1`` and ``v1beta1`` (content, prediction_service).
"""

from __future__ import annotations

from local_cloud.vertex.generation_schema import GENERATION_CONFIG
from local_cloud.vertex.wire import ANYTHING, BOOL, STRING, STRUCT, TEXTS, Many, Message

CONTENT = Message({
    "role": STRING,
    "parts": Many(
        Message({
            "text": STRING,
            "thought": BOOL,
            "thoughtSignature": STRING,
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
