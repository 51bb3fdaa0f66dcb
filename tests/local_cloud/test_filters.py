"""List filters."""

from __future__ import annotations

import pytest

from local_cloud.vertex.api.filters import parse_filter
from local_cloud.vertex.errors import ApiError

JOB = {
    "state": "JOB_STATE_SUCCEEDED",
    "tunedModelDisplayName": 'the "best" one',
    "labels": {"gemini-tuning-key": "abc", "team": "paint"},
}


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        ("", True),
        ('labels.team="paint"', True),
        ("labels.team=paint", True),
        ("labels.team = 'paint'", True),
        ('labels.gemini-tuning-key="abc"', True),
        ('labels."gemini-tuning-key":"abc"', True),
        ('labels.team="wood"', False),
        ('labels.other="paint"', False),
        ('labels.team!="wood"', True),
        ("labels.team:*", True),
        ("labels.team", True),
        ("labels.other:*", False),
        ('state="JOB_STATE_SUCCEEDED"', True),
        ("state=JOB_STATE_FAILED", False),
        ("state!=JOB_STATE_FAILED", True),
        ("state:JOB_STATE_SUCCEEDED", True),
        ("state:*", True),
        (r'tuned_model_display_name="the \"best\" one"', True),
        ('displayName="other"', False),
        ('labels.team="paint" AND state="JOB_STATE_SUCCEEDED"', True),
        ('labels.team="paint" AND state="JOB_STATE_FAILED"', False),
        ('state="JOB_STATE_SUCCEEDED" AND labels.team="AND"', False),
    ],
)
def test_a_filter_finds_what_it_says(text: str, matches: bool) -> None:
    assert parse_filter(text)(JOB) is matches


@pytest.mark.parametrize(
    "text",
    [
        "labels",
        "labels=x",
        "surprise=1",
        "state.x=1",
        "state=4",
        "state=FOO",
        "state!=JOB_STATE_FOO",
        "state=SUCCEEDED",
        "state=job_state_succeeded",
        'state=""',
        "state=JOB_STATE_*",
        "state=*",
        'labels.team="pa*"',
        "labels.team:pa*",
        "labels.team=*",
        "labels.team!=*",
        'displayName="*"',
        "NOT state=x",
        'state="a" OR state="b"',
        'state="a" state="b"',
        'state="a" AND',
        "AND",
        'state="a',
        "(state=a)",
        "=",
    ],
)
def test_what_is_not_understood_is_refused(text: str) -> None:
    with pytest.raises(ApiError, match="Invalid list filter"):
        parse_filter(text)
