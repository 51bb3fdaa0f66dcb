"""Distributions as small inline SVG drawings, coloured by the page's own style sheet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from gemini_tuning.dataset.reports.parts import Measure, number, visible
from gemini_tuning.dataset.reports.report import Bucket, Distribution, plural

_WIDTH, _HEIGHT, _EDGE = 320, 132, 6
_TOP, _BASE = 20, 108  # between them lie the bars; labels above and below


def distribution_drawing(measure: Measure) -> str:
    """Return a histogram where the distribution has buckets, otherwise its five numbers on a line."""
    buckets = measure.distribution.buckets
    label = f"{measure.name} per training example: " + ", ".join(
        f"{figure} {number(value)}" for figure, value in _figures(measure.distribution).items()
    )
    return _svg(label, _HEIGHT, _histogram(buckets) if buckets else _five_numbers(measure.distribution))


def roles_drawing(roles: Mapping[str, int]) -> str:
    """Return one horizontal bar for each role."""
    rows, largest = [], max(roles.values(), default=0) or 1
    for index, (role, count) in enumerate(roles.items()):
        y = 8 + index * 34
        shown = escape(visible(role, 24))
        rows.append(
            f'<text x="{_EDGE}" y="{y + 10}">{shown}</text>'
            f'<text x="{_WIDTH - _EDGE}" y="{y + 10}" class="end">{count:,}</text>'
            f'<rect class="track" x="{_EDGE}" y="{y + 15}" width="{_WIDTH - 2 * _EDGE}" height="8" rx="2"/>'
            f'<rect class="bar" x="{_EDGE}" y="{y + 15}" width="{(_WIDTH - 2 * _EDGE) * count / largest:.1f}"'
            f' height="8" rx="2"/>'
        )
    label = "turns by role: " + ", ".join(f"{visible(role, 24)} {count:,}" for role, count in roles.items())
    return _svg(label, 8 + 34 * len(roles), "".join(rows))


def _figures(distribution: Distribution) -> dict[str, float]:
    figures = ("min", "median", "mean", "p95", "max")
    return {figure: getattr(distribution, figure) for figure in figures}


def _svg(label: str, height: int, content: str) -> str:
    return f'<svg role="img" aria-label="{escape(label)}" viewBox="0 0 {_WIDTH} {height}">{content}</svg>'


def _histogram(buckets: Sequence[Bucket]) -> str:
    tallest = max((bucket.count for bucket in buckets), default=0) or 1
    step = (_WIDTH - 2 * _EDGE) / len(buckets)
    bars = []
    for index, bucket in enumerate(buckets):
        # a single example among a million must still be seen
        height = max((_BASE - _TOP) * bucket.count / tallest, 1.5) if bucket.count else 0
        bars.append(
            f"<g><title>{_edges(bucket)}: {plural(bucket.count, 'example')}</title>"
            f'<rect class="hit" x="{_EDGE + index * step:.1f}" y="{_TOP}" width="{step:.1f}" height="{_BASE - _TOP}"/>'
            f'<rect class="bar" x="{_EDGE + index * step + step * 0.06:.1f}" y="{_BASE - height:.1f}"'
            f' width="{step * 0.88:.1f}" height="{height:.1f}"/></g>'
        )
    overflows = buckets[-1].right - buckets[-1].left > buckets[0].right - buckets[0].left
    last = _edges(buckets[-1]) if overflows else number(buckets[-1].right)
    labels = (
        f'<text x="{_EDGE}" y="{_BASE + 17}">{number(buckets[0].left)}</text>'
        f'<text x="{_WIDTH - _EDGE}" y="{_BASE + 17}" class="end">{last}</text>'
        f'<text x="{_EDGE}" y="{_TOP - 7}" class="faint">most in one bar: {tallest:,}</text>'
    )
    return f"{''.join(bars)}{_axis()}{labels}"


def _edges(bucket: Bucket) -> str:
    return " to ".join(dict.fromkeys((number(bucket.left), number(bucket.right))))


def _five_numbers(distribution: Distribution) -> str:
    """A line from the least to the greatest, a box up to the 95th percentile, marks at median and mean."""
    span = (distribution.max - distribution.min) or 1
    middle = (_TOP + _BASE) / 2

    def x(value: float) -> float:
        return _EDGE + (_WIDTH - 2 * _EDGE) * (value - distribution.min) / span

    marks = "".join(
        f'<g><title>{name} {number(value)}</title><rect class="{name}" x="{x(value) - 1.5:.1f}" y="{middle - 26:.0f}"'
        f' width="3" height="52"/></g>'
        for name, value in (("mean", distribution.mean), ("median", distribution.median))
    )
    p95 = f"95 % up to {number(distribution.p95)}"
    return (
        f'<line class="axis" x1="{_EDGE}" x2="{_WIDTH - _EDGE}" y1="{middle}" y2="{middle}"/>'
        f'<g><title>{p95}</title><rect class="bar" x="{_EDGE}" y="{middle - 16:.0f}" rx="2"'
        f' width="{max(x(distribution.p95) - _EDGE, 2):.1f}" height="32"/></g>{marks}'
        f'<text x="{_EDGE}" y="{_BASE + 17}">{number(distribution.min)}</text>'
        f'<text x="{_WIDTH - _EDGE}" y="{_BASE + 17}" class="end">{number(distribution.max)}</text>'
        f'<text x="{_EDGE}" y="{_TOP - 7}" class="faint">{p95}</text>'
        f'<rect class="median" x="{_WIDTH - 118}" y="{_TOP - 17}" width="3" height="12"/>'
        f'<text x="{_WIDTH - 111}" y="{_TOP - 7}" class="faint">median</text>'
        f'<rect class="mean" x="{_WIDTH - 54}" y="{_TOP - 17}" width="3" height="12"/>'
        f'<text x="{_WIDTH - 47}" y="{_TOP - 7}" class="faint">mean</text>'
    )


def _axis() -> str:
    return f'<line class="axis" x1="{_EDGE}" x2="{_WIDTH - _EDGE}" y1="{_BASE}" y2="{_BASE}"/>'
