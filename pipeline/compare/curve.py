"""Learning curves: the figure of each run, and of its rounds, by the number of labels."""

from collections.abc import Sequence
from itertools import pairwise
from string import ascii_uppercase

from markupsafe import Markup

from pipeline.compare.inputs import Run
from pipeline.compare.table import MEASURED, figure
from pipeline.report.plots import percent, tag, ticks

WIDTH, HEIGHT = 1060, 360
LEFT, RIGHT, TOP, BOTTOM = 80, WIDTH - 40, 16, HEIGHT - 60
APART = 13  # pixels between runs with as many labels


def curve(runs: Sequence[Run]) -> Markup | None:
    """An SVG with a letter for each run; None where all have as many labels. Bounds are no figures, and left out."""
    points = {
        run.name: [(one.labels, one.figure) for one in run.rounds if one.figure and one.figure.kind != "bound"]
        for run in runs
    }
    counts = [count for own in points.values() for count, _ in own]
    if len({*counts}) < 2:
        return None
    shares = [end for own in points.values() for _, found in own for end in (found.low, found.high)]
    low, high, most = min(shares), max(shares), max(counts)
    low, high = max(0.0, low - 0.02), min(1.0, high + 0.02)

    def x(count: float) -> float:
        return LEFT + (RIGHT - LEFT) * count / (1.05 * most)

    def y(share: float) -> float:
        return BOTTOM - (BOTTOM - TOP) * (share - low) / (high - low)

    parts = []
    for t in ticks(low, high):
        parts.append(tag("line", x1=LEFT, x2=RIGHT, y1=y(t), y2=y(t), class_="grid"))
        parts.append(tag("text", percent(t, 0), x=LEFT - 10, y=y(t) + 6, class_="tick end"))
    for t in ticks(0, 1.05 * most):
        parts.append(tag("text", f"{t:,.0f}", x=x(t), y=BOTTOM + 26, class_="tick"))
    parts.append(tag("text", "labels", x=(LEFT + RIGHT) / 2, y=HEIGHT - 8, class_="tick"))
    for number, (run, letter) in enumerate(zip(runs, ascii_uppercase, strict=False)):
        aside = APART * (number - (len(runs) - 1) / 2)
        own = [(x(count) + aside, found, f"{letter}: {count:,} labels") for count, found in points[run.name]]
        for (start, one, _), (end, other, _) in pairwise(own):
            if one.kind == other.kind:
                ends = f"M{start:.1f} {y(one.share):.1f}L{end:.1f} {y(other.share):.1f}"
                parts.append(tag("path", d=ends, class_="curve"))
        for at, found, about in own:
            title = tag("title", f"{about}, {figure(found)}, {MEASURED[found.kind]}")
            parts.append(tag("line", x1=at, x2=at, y1=y(found.low), y2=y(found.high), class_="axis"))
            parts.append(tag("circle", title, cx=at, cy=y(found.share), r=11, class_=f"mark {found.kind}"))
            parts.append(tag("text", letter, x=at, y=y(found.share) + 5, class_="letter"))
    label = "share of right images by number of labels, with 95 % intervals"
    return tag("svg", *parts, viewBox=f"0 0 {WIDTH} {HEIGHT}", role="img", aria_label=label)
