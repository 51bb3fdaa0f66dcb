"""What a test or a rehearsal can script: how the service behaves, which requests fail, what becomes of a job.

The same documents are taken by the control API (``/_local/…``) and by ``python -m local_cloud --script FILE``. Rules
are asked in the order they were given; the first that matches and still has ``times`` left is used.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveInt,
    model_validator,
)


def _pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}") from error
    return text


Pattern = Annotated[str, AfterValidator(_pattern)]
"""A regular expression that is searched for; case matters."""

StageOnTheWay = Literal[
    "QUEUED",
    "PENDING",
    "WAITING_FOR_QUOTA",
    "PROCESSING_DATASET",
    "WAITING_FOR_CAPACITY",
    "TUNING",
    "POST_PROCESSING",
]
Stage = Literal[StageOnTheWay, "CANCELLING"]
"""A stretch of a job's life: its JobState, or the TuningJobState of a RUNNING job."""


_WITH_ERROR = ("JOB_STATE_FAILED", "JOB_STATE_CANCELLED")

FinishReason = Literal[
    "STOP",
    "MAX_TOKENS",
    "SAFETY",
    "RECITATION",
    "LANGUAGE",
    "OTHER",
    "BLOCKLIST",
    "PROHIBITED_CONTENT",
    "SPII",
    "MALFORMED_FUNCTION_CALL",
    "UNEXPECTED_TOOL_CALL",
    "TOO_MANY_TOOL_CALLS",
    "IMAGE_SAFETY",
    "IMAGE_PROHIBITED_CONTENT",
    "IMAGE_RECITATION",
    "IMAGE_OTHER",
    "NO_IMAGE",
    "CONTINUATION",
    "MODEL_ARMOR",
]
BlockReason = Literal["SAFETY", "OTHER", "BLOCKLIST", "PROHIBITED_CONTENT", "IMAGE_SAFETY", "MODEL_ARMOR", "JAILBREAK"]


class Document(BaseModel):
    """A part of a script."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Rule(Document):
    """Something that is done when it matches.

    Attributes:
        skip: how many matches pass before the first use.
        times: how often it is used; null: until it is deleted.
    """

    skip: NonNegativeInt = 0
    times: PositiveInt | None = 1


class Fault(Rule):
    """What goes wrong with a request.

    Attributes:
        method: HTTP method; every method when left out.
        path: searched for in the path with its query, ``/v1/projects/…?…``. ``/token`` is only struck by a fault that
            names it.
        delay_seconds: the answer comes so much later.
        status: an error of this HTTP status is answered, in Google's shape.
        message: of that error.
        retry_after: seconds, sent as the ``Retry-After`` header of that error.
        drop: the connection is closed without an answer.
        truncate: the body ends in the middle, and so does the connection; of a stream at least the first piece comes.
        invalid_json: the body is not JSON, with status 200.
        when: whether the service does what it was asked before it fails like this (a lost answer, ``after``) or not
            (``before``). Left out: ``after`` for truncate and invalid_json, which spoil an answer, else ``before``.
    """

    method: Literal["GET", "POST", "PATCH", "DELETE"] | None = None
    path: Pattern = ""
    delay_seconds: NonNegativeFloat = 0.0
    status: Annotated[int, Field(ge=400, le=599)] | None = None
    message: str | None = None
    retry_after: NonNegativeInt | None = None
    drop: bool = False
    truncate: bool = False
    invalid_json: bool = False
    when: Literal["before", "after"] | None = None

    @property
    def work_is_done(self) -> bool:
        """Whether the service does what it was asked before it fails like this."""
        return self.when == "after" if self.when else self.truncate or self.invalid_json

    @model_validator(mode="after")
    def _one_thing_goes_wrong(self) -> Fault:
        wrong = [bool(self.status), self.drop, self.truncate, self.invalid_json]
        if sum(wrong) > 1 or not (any(wrong) or self.delay_seconds):
            raise ValueError("give one of status, drop, truncate and invalid_json, or only delay_seconds")
        if self.status is None and (self.message is not None or self.retry_after is not None):
            raise ValueError("message and retry_after belong to a status")
        return self


class Ending(Document):
    """How a job ends instead of SUCCEEDED.

    Attributes:
        state: its last state. PARTIALLY_SUCCEEDED has all checkpoints but the last one's endpoint.
        stage: the stretch of its life at whose end this happens. A job that fails in POST_PROCESSING has a model
            without an endpoint, as a real one was seen to have.
        step: with stage TUNING, the training step after which it happens.
        code: ``google.rpc.Code`` of its ``error``; left out: 13 (INTERNAL) when it has FAILED, 1 (CANCELLED) when it
            was CANCELLED, else it has no error.
        message: of that error; left out: what a job of that state usually says.
    """

    state: Literal["JOB_STATE_FAILED", "JOB_STATE_CANCELLED", "JOB_STATE_EXPIRED", "JOB_STATE_PARTIALLY_SUCCEEDED"]
    stage: StageOnTheWay = "POST_PROCESSING"
    step: PositiveInt | None = None
    code: Annotated[int, Field(ge=1, le=16)] | None = None
    message: str | None = None

    @model_validator(mode="after")
    def _possible(self) -> Ending:
        if self.state == "JOB_STATE_PARTIALLY_SUCCEEDED" and self.stage != "POST_PROCESSING":
            raise ValueError("a job can only be PARTIALLY_SUCCEEDED after POST_PROCESSING")
        if self.step is not None and self.stage != "TUNING":
            raise ValueError("step belongs to the stage TUNING")
        if self.message is not None and self.code is None and self.state not in _WITH_ERROR:
            raise ValueError(f"message needs a code: a job that is {self.state} usually has no error")
        return self


class JobScenario(Rule):
    """What becomes of a job. It is chosen when the job is created and stays with it, over restarts too.

    Attributes:
        labels: labels the job must have, with these values.
        display_name: searched for in its ``tunedModelDisplayName``.
        base_model: searched for in its ``baseModel``, or in the name of the tuned model it starts from.
        seconds: least duration of each stage.
        step_seconds: least duration of a training step.
        end: how it ends, unless well.
        cancel: the state a cancelled job ends in: the request may come too late.
    """

    labels: dict[str, str] = {}
    display_name: Pattern = ""
    base_model: Pattern = ""
    seconds: dict[Stage, NonNegativeFloat] = {}
    step_seconds: NonNegativeFloat | None = None
    end: Ending | None = None
    cancel: Literal["JOB_STATE_CANCELLED", "JOB_STATE_SUCCEEDED", "JOB_STATE_FAILED"] = "JOB_STATE_CANCELLED"


class AnswerScenario(Rule):
    """What a prompt is answered instead of what the weights say.

    Attributes:
        model: searched for in the name of the endpoint or base model.
        prompt: searched for in the text of the last turn.
        text: this text instead; token counts follow it.
        finish_reason: every candidate ends with this reason. A reason other than STOP and MAX_TOKENS takes the
            candidate's content away, unless ``text`` is given.
        finish_message: of the candidate.
        block_reason: the prompt is blocked: no candidates, only ``promptFeedback``.
        block_message: of that feedback.
    """

    model: Pattern = ""
    prompt: Pattern = ""
    text: str | None = None
    finish_reason: FinishReason | None = None
    finish_message: str | None = None
    block_reason: BlockReason | None = None
    block_message: str | None = None

    @model_validator(mode="after")
    def _something_is_said(self) -> AnswerScenario:
        if self.block_reason and (self.finish_reason or self.text is not None):
            raise ValueError("a blocked prompt has no answer: give block_reason, or finish_reason and text")
        if not (self.block_reason or self.finish_reason or self.text is not None):
            raise ValueError("give one of text, finish_reason and block_reason")
        return self


class Behaviour(Document):
    """How the service behaves as long as nothing else is scripted. Every field is a start-up flag too."""

    queued_seconds: NonNegativeFloat = Field(0.0, description="how long a new job is QUEUED; 0: it begins as PENDING")
    pending_seconds: NonNegativeFloat = Field(1.0, description="how long a new job is PENDING")
    step_seconds: NonNegativeFloat = Field(0.0, description="time added to every training step")
    quota: PositiveInt | None = Field(
        None,
        description="jobs of a project that may run at the same time, in all locations; unset: any number",
    )
    over_quota: Literal["queue", "refuse"] = Field(
        "queue",
        description="what becomes of further jobs: queue (RUNNING, detail WAITING_FOR_QUOTA) or refuse (429); "
        "Google documents neither",
    )
    list_lag_seconds: NonNegativeFloat = Field(0.0, description="how long a new job is missing from lists")
    latency_seconds: NonNegativeFloat = Field(0.0, description="added to every call of the API")
    token_seconds: PositiveInt = Field(3600, description="lifetime of the tokens that are issued")
    require_token: bool = Field(False, description="answer 401 to calls without a valid bearer token")
    sample_for_missing_datasets: bool = Field(
        False, description="train on a built-in sample when a job's dataset is not in the local storage"
    )
    tune_retired: bool = Field(False, description="let jobs tune retired base models, to rehearse old scripts")
    cancel_ended: Literal["refuse", "ignore"] = Field(
        "refuse",
        description="cancelling a job that has ended: refuse (400 FAILED_PRECONDITION) or ignore ({}); "
        "Google documents neither",
    )


class Script(Document):
    """A whole script: the contents of a ``--script`` file.

    Attributes:
        settings: fields of Behaviour; start-up flags and changes made at run time take precedence.
        jobs: TuningJobs as the API answers them, each with its full ``name``, that are there from the start; see
            ``planting``.
        scenarios: what becomes of new jobs.
        faults: what goes wrong with requests.
        answers: what prompts are answered.
    """

    settings: dict[str, Any] = {}
    jobs: list[dict[str, Any]] = []
    scenarios: list[JobScenario] = []
    faults: list[Fault] = []
    answers: list[AnswerScenario] = []
