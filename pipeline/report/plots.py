"""Charts as SVG inside the page: they take their colours from its style sheet, so they follow light and dark."""

from collections.abc import Sequence
from math import ceil, floor, log10

import numpy as np
from jaxtyping import Float
from markupsafe import Markup
from numpy import ndarray

from pipeline.evaluate.accuracy import Calibration

WIDTH = 640  # of a chart's coordinates; the page scales it
WIDE = 1060  # of the strip's
NARROW = 360  # of a curve's, three of which stand side by side


def tag(name: str, *children: str, **attributes: object) -> Markup:
    """An element; text is escaped, `class_` stands for class, `aria_label` for aria-label; floats get 2 digits."""
    pairs = ((key.rstrip("_").replace("_", "-"), value) for key, value in attributes.items())
    text = Markup("").join(Markup(' {}="{}"').format(key, _brief(value)) for key, value in pairs)
    return Markup("<{}{}>{}</{}>").format(Markup(name), text, Markup("").join(children), Markup(name))


def percent(share: float, digits: int = 1) -> str:
    """0.8734 as `87.3 %`, the space a narrow one that does not break."""
    return f"{100 * share:.{digits}f}\u202f%"


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """About `count` round numbers (1, 2 or 5 times a power of ten apart) within [low, high]."""
    raw = (high - low) / count
    power = 10.0 ** floor(log10(raw))
    step = min((power * m for m in (1, 2, 5, 10)), key=lambda step: abs(log10(step / raw)))
    return [i * step for i in range(ceil(low / step - 1e-9), floor(high / step + 1e-9) + 1)]


def strip(draws: Sequence[float], picks: float) -> Markup:
    """The accuracy of each random draw as a dot, equal ones stacked, and the picks' accuracy as a diamond on a line."""
    low, high = min(*draws, picks), max(*draws, picks)
    pad = max(0.12 * (high - low), 0.01)
    low, high = max(0.0, low - pad), min(1.0, high + pad)
    mean, std = float(np.mean(draws)), float(np.std(draws, ddof=1))
    left, right, floor_y, radius = 20, WIDE - 20, 160, 8.0

    def x(share: float) -> float:
        return left + (right - left) * (share - low) / (high - low)

    parts = [_text(x(t), floor_y + 24, percent(t, 0 if high - low > 0.05 else 1), "tick") for t in ticks(low, high, 8)]
    parts += [tag("line", x1=x(t), x2=x(t), y1=floor_y, y2=floor_y + 6, class_="axis") for t in ticks(low, high, 8)]
    parts.append(tag("line", x1=left, x2=right, y1=floor_y, y2=floor_y, class_="axis"))
    start, end = x(max(low, mean - std)), x(min(high, mean + std))
    parts.append(tag("rect", x=start, y=46, width=end - start, height=floor_y - 46, class_="band"))
    parts.append(tag("line", x1=x(mean), x2=x(mean), y1=46, y2=floor_y, class_="mean"))
    placed: list[tuple[float, float]] = []
    base = floor_y - radius - 2
    for share in sorted(draws):
        y = base
        for a, b in sorted(placed, key=lambda dot: -dot[1]):  # upwards, resting on each dot that is in the way
            room = (2 * radius) ** 2 - (x(share) - a) ** 2
            if (y - b) ** 2 < room - 1e-9:
                y = b - room**0.5
        placed.append((x(share), y))
    squeeze = min(1.0, (base - 50) / max(1.0, base - min(y for _, y in placed)))  # a tall stack overlaps itself
    for share, (a, y) in zip(sorted(draws), placed, strict=True):
        title = tag("title", percent(share, 2))
        parts.append(tag("circle", title, cx=a, cy=base - squeeze * (base - y), r=radius - 0.5, class_="draw"))
    at = x(picks)
    parts.append(tag("line", x1=at, x2=at, y1=24, y2=floor_y, class_="picks-line"))
    parts.append(tag("path", d=f"M{at:.2f} {floor_y - 25}l11 12-11 12-11-12z", class_="picks-mark"))
    parts.append(_text(min(max(at, 80), WIDE - 80), 16, f"the picks {percent(picks)}", "picks-text"))
    parts.append(_text(min(max(x(mean), 80), WIDE - 80), 40, f"random {percent(mean)}", "random-text"))
    return _svg(floor_y + 34, f"{len(draws)} random draws and the picks, by the linear probe's accuracy", parts, WIDE)


def lines(x: Float[ndarray, " s"], y: Float[ndarray, " s"], name: str) -> Markup:
    """A curve over the steps of training; more than 240 points are drawn as means of neighbours. NaN is left out."""
    x, y = x[np.isfinite(y)], y[np.isfinite(y)]
    groups = np.array_split(np.arange(len(x)), min(len(x), 240))
    x, y = np.array([x[g].mean() for g in groups]), np.array([y[g].mean() for g in groups])
    low, high = float(y.min()), float(y.max())
    low = 0.0 if 0 <= low < 0.6 * high else low
    high = high if high > low else low + (abs(low) or 1.0)
    left, right, top, bottom = 58, NARROW - 6, 10, 170
    span = float(x[-1] - x[0]) or 1.0
    points = [
        f"{left + (right - left) * (a - x[0]) / span:.1f} {bottom - (bottom - top) * (b - low) / (high - low):.1f}"
        for a, b in zip(x.tolist(), y.tolist(), strict=True)
    ]
    parts = []
    for t in ticks(low, high, 3):
        at = bottom - (bottom - top) * (t - low) / (high - low)
        parts.append(tag("line", x1=left, x2=right, y1=at, y2=at, class_="grid"))
        parts.append(_text(left - 8, at + 5, f"{t:.4g}", "tick end"))
    parts.append(tag("path", d="M" + "L".join(points), class_="curve"))
    parts.append(_text(left, bottom + 24, f"step {x[0]:.0f}", "tick start"))
    parts.append(_text(right, bottom + 24, f"{x[-1]:,.0f}", "tick end"))
    return _svg(bottom + 30, f"{name} by step, from {y[0]:.4g} to {y[-1]:.4g}", parts, NARROW)


def reliability(bins: Calibration) -> Markup:
    """Accuracy in each bin of confidence, beside the diagonal of a calibrated model; the thin bars below are counts."""
    left, right, top, bottom, base = 74, WIDTH - 20, 14, 340, 420
    m, most = len(bins.count), int(bins.count.max())
    wide = (right - left) / m
    parts = []
    for t in (0, 0.25, 0.5, 0.75, 1):
        y = bottom - (bottom - top) * t
        parts.append(tag("line", x1=left, x2=right, y1=y, y2=y, class_="grid"))
        parts.append(_text(left - 10, y + 7, percent(t, 0), "tick end"))
        parts.append(_text(left + (right - left) * t, base + 28, percent(t, 0), "tick"))
    for i in range(m):
        at, count = left + i * wide + 2, int(bins.count[i])
        if count:
            confidence, accuracy = float(bins.confidence[i]), float(bins.accuracy[i])
            words = f"{count:,} images: confidence {percent(confidence)}, accuracy {percent(accuracy)}"
            tall = (bottom - top) * accuracy
            parts.append(
                tag("rect", tag("title", words), x=at, y=bottom - tall, width=wide - 4, height=tall, class_="bar")
            )
            tall = max(1.5, (base - bottom - 16) * count / most)
            parts.append(
                tag("rect", tag("title", words), x=at, y=base - tall, width=wide - 4, height=tall, class_="count")
            )
    parts.append(tag("line", x1=left, y1=bottom, x2=right, y2=top, class_="diagonal"))
    parts.append(_text(left - 10, base, "images", "tick end"))
    return _svg(
        base + 62, "accuracy by confidence", [*parts, _text((left + right) / 2, base + 56, "confidence", "tick")]
    )


def _svg(height: float, label: str, parts: Sequence[str], width: int = WIDTH) -> Markup:
    return tag("svg", *parts, viewBox=f"0 0 {width} {height:g}", role="img", aria_label=label)


def _text(x: float, y: float, words: str, style: str) -> Markup:
    return tag("text", words, x=x, y=y, class_=style)


def _brief(value: object) -> object:
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else value
