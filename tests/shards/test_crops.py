"""Parts of an image from its own pixels: where the boxes lie, and when a JPEG is decoded at a fraction of its size."""

import math
from io import BytesIO
from itertools import product

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_sample_image

from pipeline.shards.decode import BadImage, crop_and_resize, encode
from pipeline.views import augment
from pipeline.views.chance import UNIT, Chance
from pipeline.views.kinds import Crops

CHINA = Image.fromarray(load_sample_image("china.jpg"))  # 640 x 427


def data_of(image, kind="JPEG", **options):
    file = BytesIO()
    image.save(file, kind, quality=95, **options)
    return file.getvalue()


def crops(area, log_ratio, across=0.3, down=0.8):
    return Crops(*(np.array([v], np.float32) for v in (area, log_ratio, across, down)), np.array([False]))


def planes(image):
    return np.asarray(image).transpose(2, 0, 1)


def plain(data, box, size):
    """(h, w) of a part of the whole image, decoded at its full size."""
    return planes(Image.open(BytesIO(data)).resize(size[::-1], Image.Resampling.BILINEAR, box))


@pytest.mark.parametrize(("width", "height"), [(640, 427), (100, 300), (50, 50), (31.5, 20)])
@pytest.mark.parametrize("log_ratio", [math.log(3 / 4), 0.0, 0.2])
def test_a_box_has_its_share_of_the_area_and_its_ratio_in_pixels(width, height, log_ratio):
    left, top, right, bottom = crops(0.1, log_ratio).box(0, width, height)
    assert (right - left) * (bottom - top) == pytest.approx(0.1 * width * height, rel=1e-5)
    assert (right - left) / (bottom - top) == pytest.approx(math.exp(log_ratio), rel=1e-5)
    assert left / (width - right + left) == pytest.approx(0.3, rel=1e-5)
    assert top / (height - bottom + top) == pytest.approx(0.8, rel=1e-5)


@pytest.mark.parametrize(("width", "height"), [(640, 427), (1000, 100), (100, 1000), (77, 77)])
def test_a_box_stays_inside_and_is_never_squeezed(width, height):
    for log_ratio, area, place in product((math.log(3 / 4), 0.0, math.log(4 / 3)), (0.6, 1.0), (0.0, 1.0)):
        left, top, right, bottom = crops(area, log_ratio, place, place).box(0, width, height)
        assert 0 <= left < right <= width
        assert 0 <= top < bottom <= height
        low, high = sorted((math.exp(log_ratio), 1.0))
        assert low - 1e-6 <= (right - left) / (bottom - top) <= high + 1e-6


def test_boxes_of_a_square_are_those_of_the_matrix():
    ratio = math.log(4 / 3)
    draws = Chance(0).uniform(50, (0.05, 1), (-ratio, ratio), UNIT, UNIT)
    many = Crops(*draws.T, np.zeros(50, bool))
    matrix = torch.from_numpy(many.matrix())
    centre, half = matrix[:, :, 2], matrix[:, [0, 1], [0, 1]]
    expected = torch.cat([centre - half, centre + half], 1) * 24 / 2 + 12
    found = torch.tensor([many.box(i, 24, 24) for i in range(50)])
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


def test_a_part_of_a_square_is_what_the_matrix_samples():
    square = planes(CHINA.resize((24, 24)))
    for area, log_ratio in ((1.0, 0.0), (0.3, 0.2), (0.05, -0.25), (0.9, 0.28)):
        one = crops(area, log_ratio)
        (part,) = crop_and_resize(encode(square), 3, lambda w, h, one=one: [one.box(0, w, h)], [(24, 24)])
        sampled = augment.warp(torch.from_numpy(square.copy())[None].float(), one.matrix())[0].numpy()
        assert np.abs(part - sampled).max() <= 1.01  # Pillow rounds to bytes after each axis


def test_parts_come_in_their_sizes_and_channels():
    boxes = [(0, 0, 427, 427), (10.5, 20.25, 24, 32)]
    data = data_of(CHINA)
    for channels in (1, 3):
        parts = crop_and_resize(data, channels, lambda *_: boxes, [(40, 50), (7, 8)])
        assert [part.shape for part in parts] == [(channels, 40, 50), (channels, 7, 8)]
        assert {part.dtype for part in parts} == {np.dtype(np.uint8)}
    alpha = CHINA.convert("RGBA")
    alpha.putalpha(0)
    (white,) = crop_and_resize(data_of(alpha, "PNG"), 3, lambda *_: boxes[:1], [(4, 4)])
    assert (white == 255).all()


def test_a_small_part_is_taken_from_the_whole_decode():
    data = data_of(CHINA)
    boxes = [(0, 0, 640, 427), (100, 100, 160, 180)]
    parts = crop_and_resize(data, 3, lambda *_: boxes, [(32, 32), (48, 48)])
    for part, box, size in zip(parts, boxes, [(32, 32), (48, 48)], strict=True):
        np.testing.assert_array_equal(part, plain(data, box, size))


@pytest.mark.parametrize(("side", "scale"), [(200, 2), (180, 2), (100, 4), (50, 8), (20, 8)])
def test_a_jpeg_is_decoded_at_the_fraction_that_still_has_all_pixels(side, scale):
    data, asked = data_of(CHINA), []

    def boxes(width, height):
        asked.append((width, height))
        return [(0.1 * width, 0.05 * height, 0.9 * width, height)]

    (part,) = crop_and_resize(data, 3, boxes, [(side, side)])
    assert asked == [(640, 427), (640 / scale, 427 / scale)]
    exact = plain(data, (64, 0.05 * 427, 576, 427), (side, side))
    assert np.abs(part.astype(int) - exact).mean() < 2.5
    assert np.abs(part.astype(int) - exact[:, :, ::-1]).mean() > 30
    (part,) = crop_and_resize(data_of(CHINA, "PNG"), 3, boxes, [(side, side)])
    assert asked[2:] == [(640, 427)]  # only a JPEG can do that


@pytest.mark.parametrize("size", [(16, 16), (300, 300)])
def test_boxes_are_those_of_the_upright_image(size):
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn clockwise makes it upright
    upright = CHINA.transpose(Image.Transpose.ROTATE_270)

    def boxes(width, height):
        assert width / height == 427 / 640
        return [(0, 0, width, height / 2)]

    (part,) = crop_and_resize(data_of(CHINA, exif=exif), 3, boxes, [size])
    exact = planes(upright.resize(size, Image.Resampling.BILINEAR, (0, 0, 427, 320)))
    assert np.abs(part.astype(int) - exact).mean() < 5  # an eighth of the size: half a pixel of 16 is lost at an edge
    assert np.abs(part.astype(int) - exact[:, ::-1]).mean() > 30


def test_a_truncated_image_is_a_bad_image():
    data = data_of(CHINA)
    with pytest.raises(BadImage, match="truncated"):
        crop_and_resize(data[:-20000], 3, lambda w, h: [(0, 0, w, h)], [(8, 8)])
