"""The charts: round ticks, every draw drawn, text escaped, drawn where the numbers say."""

import re
from xml.etree import ElementTree

import numpy as np
import pytest
from markupsafe import Markup

from pipeline.evaluate.accuracy import calibration
from pipeline.report import plots


def shapes(svg, kind):
    return [element for element in ElementTree.fromstring(svg).iter() if element.get("class") == kind]


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]), (0.61, 0.88, [0.65, 0.7, 0.75, 0.8, 0.85]), (-3, 90, [0, 20, 40, 60, 80])],
)
def test_ticks_are_round_and_within(low, high, expected):
    assert plots.ticks(low, high) == pytest.approx(expected)


def test_percent_does_not_break():
    assert plots.percent(0.87349) == "87.3\u202f%"
    assert plots.percent(1, 0) == "100\u202f%"


def test_tags_escape_text_and_attributes():
    assert plots.tag("text", "<b>&", class_='"x', aria_label="a") == Markup(
        '<text class="&#34;x" aria-label="a">&lt;b&gt;&amp;</text>'
    )


def test_the_strip_shows_every_draw_in_order_and_the_picks_among_them():
    draws = [0.5, 0.62, 0.62, 0.62, 0.7]
    svg = plots.strip(draws, 0.66)
    dots = [(float(dot.get("cx")), float(dot.get("cy"))) for dot in shapes(svg, "draw")]
    assert len(set(dots)) == 5  # equal draws are stacked, not drawn over one another
    across = sorted(x for x, _ in dots)
    assert across[1] == across[2] == across[3]
    picks = float(shapes(svg, "picks-line")[0].get("x1"))
    assert across[3] < picks < across[4]
    share = (picks - across[0]) / (across[4] - across[0])
    assert share == pytest.approx((0.66 - 0.5) / (0.7 - 0.5), abs=1e-3)


@pytest.mark.parametrize("draws", [20, 100])
def test_equal_draws_are_stacked_inside_the_picture(draws):
    dots = shapes(plots.strip([0.5] * draws, 0.6), "draw")
    heights = [float(dot.get("cy")) for dot in dots]
    assert len(heights) == draws
    assert 49 <= min(heights) < max(heights) == 150
    assert len(shapes(plots.strip([0.5] * draws, 0.5), "draw")) == draws


def test_a_curve_falls_where_its_numbers_fall_and_skips_holes():
    step, y = np.arange(1.0, 6), np.array([4.0, 2.0, np.nan, 1.0, 0.0])
    points = re.findall(r"([\d.]+) ([\d.]+)", shapes(plots.lines(step, y, "loss"), "curve")[0].get("d"))
    assert len(points) == 4
    heights = [float(point[1]) for point in points]
    assert heights == sorted(heights)  # SVG counts downwards
    assert (heights[1] - heights[0]) / (heights[3] - heights[0]) == pytest.approx(0.5, abs=1e-3)


def test_a_long_curve_is_drawn_as_means():
    step = np.arange(1.0, 10_001)
    assert shapes(plots.lines(step, step, "x"), "curve")[0].get("d").count("L") == 239


def test_a_constant_curve_is_drawn():
    assert shapes(plots.lines(np.array([1.0, 2.0]), np.zeros(2), "rate"), "curve")


def test_reliability_has_a_bar_for_each_bin_with_images():
    bins = calibration(np.array([0.5, 0.55, 0.95]), np.array([True, False, True]))
    svg = plots.reliability(bins)
    bars = shapes(svg, "bar")
    assert len(bars) == len(shapes(svg, "count")) == np.count_nonzero(bins.count)
    assert [bar[0].text for bar in bars][-1] == "1 images: confidence 95.0\u202f%, accuracy 100.0\u202f%"
