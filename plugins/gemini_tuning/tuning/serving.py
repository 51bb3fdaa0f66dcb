"""Whether what an earlier job made is still there."""

from __future__ import annotations

from gemini_tuning.errors import ServiceRefusedError
from gemini_tuning.tuning.client import JsonReader
from gemini_tuning.tuning.spec import TuningJob


def require_served(read: JsonReader, job: TuningJob) -> None:
    """Make sure that the endpoint of a job that succeeded earlier is still there.

    Nothing is bought in its place without being asked for: the model may still be in the Model Registry.

    :param read: of the endpoint's location.
    :raises ServiceRefusedError: it is gone; ``TransientError``: nobody can tell now.
    """
    tuned = job.tuned_model
    if not tuned or not tuned.endpoint:
        return
    try:
        read(tuned.endpoint)
    except ServiceRefusedError as error:
        if error.code == 404:
            raise ServiceRefusedError(
                f"Already tuned by {job.name}, but its endpoint {tuned.endpoint} is gone; to pay for a new model, set "
                f"'force_new'. The old one, {tuned.model}, may still be in the Model Registry.",
                404,
            ) from None
