"""Generation settings, wherever they are given: with a prompt, or for the answers that an evaluation rates.

Taken from the protos ``google.cloud.aiplatform.v1`` and ``v1beta1`` (content, openapi), together with what google-genai
sends beyond them.
"""

from __future__ import annotations

from local_cloud.vertex.wire.kinds import (
    ANYTHING,
    BOOL,
    BYTES,
    DOUBLE,
    INT32,
    INT64,
    STRING,
    Enum,
    Kind,
    Many,
    Map,
    Message,
)

_TYPE = Enum("Type", ("TYPE_UNSPECIFIED", "STRING", "NUMBER", "INTEGER", "BOOLEAN", "ARRAY", "OBJECT", "NULL"))
_MODALITY = Enum("Modality", ("MODALITY_UNSPECIFIED", "TEXT", "IMAGE", "AUDIO", "VIDEO", "DOCUMENT"))
_MEDIA_RESOLUTION = Enum(
    "MediaResolution",
    tuple(f"MEDIA_RESOLUTION_{level}" for level in ("UNSPECIFIED", "LOW", "MEDIUM", "HIGH", "ULTRA_HIGH")),
)
_THINKING_LEVEL = Enum("ThinkingLevel", ("THINKING_LEVEL_UNSPECIFIED", "LOW", "MEDIUM", "HIGH", "MINIMAL"))
_FEATURE_SELECTION = Enum(
    "FeatureSelectionPreference",
    ("FEATURE_SELECTION_PREFERENCE_UNSPECIFIED", "PRIORITIZE_QUALITY", "BALANCED", "PRIORITIZE_COST"),
)
_MODEL_ROUTING = Enum("ModelRoutingPreference", ("UNKNOWN", "PRIORITIZE_QUALITY", "BALANCED", "PRIORITIZE_COST"))

_schema_fields: dict[str, Kind] = {
    "type": _TYPE,
    **dict.fromkeys(("format", "title", "description", "pattern", "ref"), STRING),
    **dict.fromkeys(("default", "example", "additionalProperties"), ANYTHING),
    **dict.fromkeys(
        ("minItems", "maxItems", "minProperties", "maxProperties", "minLength", "maxLength"),
        INT64,
    ),
    **dict.fromkeys(("minimum", "maximum"), DOUBLE),
    **dict.fromkeys(("enum", "required", "propertyOrdering"), Many(STRING)),
    "nullable": BOOL,
}
SCHEMA = Message(_schema_fields)
_schema_fields["items"] = SCHEMA
_schema_fields["anyOf"] = Many(SCHEMA)
_schema_fields["properties"] = _schema_fields["defs"] = Map(SCHEMA)

_VOICE = Message({
    "prebuiltVoiceConfig": Message({"voiceName": STRING}),
    "replicatedVoiceConfig": Message({
        "mimeType": STRING,
        "voiceSampleAudio": BYTES,
        "consentAudio": BYTES,
        "voiceConsentSignature": Message({"signature": STRING}),
    }),
    "voice": STRING,
})
_SPEECH = Message({
    "voiceConfig": _VOICE,
    "languageCode": STRING,
    "multiSpeakerVoiceConfig": Message({
        "speakerVoiceConfigs": Many(Message({"speaker": STRING, "voiceConfig": _VOICE})),
    }),
})
_ROUTING = Message({
    "autoMode": Message({"modelRoutingPreference": _MODEL_ROUTING}),
    "manualMode": Message({"modelName": STRING}),
})
THINKING_CONFIG = Message({"includeThoughts": BOOL, "thinkingBudget": INT32, "thinkingLevel": _THINKING_LEVEL})

GENERATION_CONFIG = Message({
    **dict.fromkeys(("temperature", "topP", "topK", "presencePenalty", "frequencyPenalty"), DOUBLE),
    **dict.fromkeys(("candidateCount", "maxOutputTokens", "seed", "logprobs"), INT32),
    **dict.fromkeys(
        ("responseLogprobs", "audioTimestamp", "enableAffectiveDialog", "enableEnhancedCivicAnswers"), BOOL
    ),
    "stopSequences": Many(STRING),
    "responseMimeType": STRING,
    "responseSchema": SCHEMA,
    "responseJsonSchema": ANYTHING,
    "responseModalities": Many(_MODALITY),
    "mediaResolution": _MEDIA_RESOLUTION,
    "routingConfig": _ROUTING,
    "modelConfig": Message({"featureSelectionPreference": _FEATURE_SELECTION}),
    "speechConfig": _SPEECH,
    "thinkingConfig": THINKING_CONFIG,
    # No text model heeds these: they are only passed on.
    **dict.fromkeys(
        ("imageConfig", "modelSelectionConfig", "responseFormat", "translationConfig", "audioTranscriptionConfig"),
        ANYTHING,
    ),
})
