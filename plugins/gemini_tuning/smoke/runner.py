"""Run a suite against an endpoint, a bounded number of prompts at a time."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

from gemini_tuning.errors import PermanentError
from gemini_tuning.smoke.assertions import holds
from gemini_tuning.smoke.endpoint import Endpoint
from gemini_tuning.smoke.report import AssertionResult, SmokeReport, SmokeResult
from gemini_tuning.smoke.suite import SmokeSuite, SmokeTest


def run_suite(suite: SmokeSuite, endpoint: Endpoint, *, name: str) -> SmokeReport:
    """Ask every prompt and judge every answer; one test's failure stops no other.

    :raises TransientError: when the service can't be asked for now, which says nothing about the model.

    :param name: the suite's name for the report.
    """
    with ThreadPoolExecutor(max_workers=suite.concurrency) as pool:
        results = tuple(pool.map(lambda test: _run(test, suite, endpoint), suite.tests))
    passed = all(result.passed for result in results)
    return SmokeReport(suite=name, endpoint=endpoint.name, passed=passed, results=results)


def _run(test: SmokeTest, suite: SmokeSuite, endpoint: Endpoint) -> SmokeResult:
    started = time.monotonic()
    text, finish_reason, error = None, None, None
    try:
        text, finish_reason = endpoint.ask(
            test.prompt,
            suite.settings_of(test),
            test.system_instruction or suite.system_instruction,
        )
        if text is None:
            error = f"no answer: {finish_reason}"
    except PermanentError as refused:
        error = str(refused)
    assertions = tuple(
        AssertionResult(type=a.type, value=a.value, passed=text is not None and holds(a, text)) for a in test.assertions
    )
    return SmokeResult(
        description=test.description or f"test {suite.tests.index(test) + 1}",
        prompt=test.prompt,
        answer=text,
        finish_reason=finish_reason,
        error=error,
        assertions=assertions,
        passed=error is None and all(assertion.passed for assertion in assertions),
        latency_seconds=round(time.monotonic() - started, 3),
    )
