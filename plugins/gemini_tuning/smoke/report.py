"""What a smoke suite found."""

from __future__ import annotations

from gemini_tuning.values import Value


class AssertionResult(Value):
    """One assertion and whether the answer held up to it."""

    type: str
    value: str | None
    passed: bool


class SmokeResult(Value):
    """One prompt, its answer, and the verdict on it.

    ``answer`` is None and ``error`` says why where the endpoint gave no text.
    """

    description: str
    prompt: str
    answer: str | None
    finish_reason: str | None
    error: str | None
    assertions: tuple[AssertionResult, ...]
    latency_seconds: float
    passed: bool

    def verdict(self) -> str:
        """Return one line that quotes neither prompt nor answer: both may be private."""
        if self.passed:
            return f"passed: {self.description}"
        if self.error:
            return f"FAILED: {self.description}: {self.error}"
        failed = ", ".join(assertion.type for assertion in self.assertions if not assertion.passed)
        return f"FAILED: {self.description}: {failed}"


class SmokeReport(Value):
    """Every prompt of a suite with answer and verdict; passed only if every test passed."""

    suite: str
    endpoint: str
    passed: bool
    results: tuple[SmokeResult, ...]

    def headline(self) -> str:
        """Return one sentence with the count."""
        good = sum(result.passed for result in self.results)
        return f"{good} of {len(self.results)} smoke tests passed on {self.endpoint}"
