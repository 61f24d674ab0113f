"""The laws of a scaling curve on points that are made by them, and the curve of vectors whose law is known."""

import numpy as np
import pytest

from pipeline.transfer.scaling import curve, forecast, line, numbers, power_law
from tests.transfer.clouds import clouds

N = np.array([50.0, 100, 200, 400, 800, 1600])


def test_numbers_halve_from_all_images_down_to_fifty():
    assert numbers(1600) == [50, 100, 200, 400, 800, 1600]
    assert numbers(99) == [99]
    assert numbers(49) == []


@pytest.mark.parametrize(
    ("a", "b", "c", "d"), [(2.0, 0.5, 0.05, 0.0), (5.0, 0.8, 0.02, 60.0), (1.2, 0.3, 0.0, 20.0), (0.0, 1.0, 0.2, 0.0)]
)
def test_a_power_law_is_found_from_its_points(a, b, c, d):
    accuracy = 1 - (a * (N + d) ** -b + c)
    assert accuracy.min() > 0
    law = power_law(N, accuracy)
    assert law(6400) == pytest.approx(1 - (a * (6400 + d) ** -b + c), abs=2e-3)


def test_a_line_in_the_logarithm_is_found_from_its_points_and_is_cut_to_a_share():
    law = line(N, 0.3 + 0.06 * np.log(N))
    assert law(3200) == pytest.approx(0.3 + 0.06 * np.log(3200))
    assert law(1e9) == 1


def test_the_largest_number_has_no_part_in_its_forecast():
    points = dict(zip(N.astype(int).tolist(), 0.9 - 2 * N**-0.7, strict=True))
    found = forecast(points)
    assert (found.number, found.accuracy) == (1600, points[1600])
    assert found.power == pytest.approx(points[1600], abs=1e-3)
    assert found.line > points[1600] + 0.005  # a line does not bend
    assert forecast({**points, 1600: 0.1})[2:] == found[2:]


def test_a_curve_rises_to_the_probe_on_all_images():
    found = curve(clouds(n=100, classes=4, spread=0.6), 0)
    assert list(found) == ["scaling_50", "scaling_100", "scaling_200", "scaling_400"]
    values = [figure.value for figure in found.values()]
    assert 0.5 < values[0] < values[2] < 1
    assert all(figure.low < figure.value < figure.high for figure in found.values())
