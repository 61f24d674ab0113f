"""Operations on a batch against the same on one image in plain NumPy, and views as functions of their generator."""

import math

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from pydantic import ValidationError

from pipeline.base.errors import ParamsError
from pipeline.views import augment, matrices
from pipeline.views.chance import UNIT
from pipeline.views.kinds import ContrastiveView, LocalCrops, StrongView, WeakView
from tests.method_values import CONTRASTIVE, STRONG, WEAK
from tests.views.samples import NEUTRAL, chance, each, raw


def test_equalize_is_pillows_on_the_chosen_images():
    dark = (raw(h=32, w=30).double() ** 2 / 300).to(torch.uint8)
    flat = torch.full_like(dark[:1], 7)
    images = torch.cat([dark, flat])
    out = augment.equalize(images.float() / 255, np.array([True] * 5 + [False, True]))
    expected = [ImageOps.equalize(Image.fromarray(image.permute(1, 2, 0).numpy())) for image in images[:5]]
    found = (out * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    for i, picture in enumerate(expected):
        np.testing.assert_array_equal(found[i], np.asarray(picture))
    assert torch.equal(out[5:], images[5:].float() / 255)
    view = NEUTRAL.model_copy(update={"equalize_prob": 0.5})
    many = raw(200, h=20, w=20)
    changed = (view(many, chance()) != NEUTRAL(many, chance())).any(3).any(2).any(1)
    assert 70 < changed.sum() < 130


@pytest.mark.parametrize("view", [CONTRASTIVE, WEAK, STRONG], ids=lambda view: type(view).__name__)
@pytest.mark.parametrize("channels", [1, 3])
def test_same_generator_same_view_and_each_image_its_own(view, channels):
    images = raw(c=channels)
    out = view(images, chance(1))
    assert torch.equal(out, view(images, chance(1)))
    assert not torch.equal(out, view(images, chance(2)))
    assert out.shape == images.shape
    assert out.dtype == torch.float32
    assert out.min() >= 0
    assert out.max() <= 1 + 1e-6
    same = view(images[:1].expand(12, -1, -1, -1), chance(1))
    assert len({tuple(image.flatten().tolist()) for image in same}) > 3  # few whole-pixel shifts: some are alike


def test_a_view_that_does_nothing_gives_the_image():
    images = raw()
    no_log_ratio = matrices.crop_matrix(
        np.ones(6, np.float32), np.zeros(6, np.float32), *chance().uniform(6, UNIT, UNIT).T
    )
    torch.testing.assert_close(augment.warp(images / 255, no_log_ratio), images / 255, atol=1e-5, rtol=0)
    still = WeakView(flip=0.0, shift=0.0)(images, chance())
    torch.testing.assert_close(still, images / 255, atol=1e-5, rtol=0)
    nothing = StrongView(
        flip=0.0, op_prob=0.0, rotate=30, shear=0.3, shift=0.3, colour=0.9, solarize=True, posterize=True, cutout=0.0
    )
    torch.testing.assert_close(nothing(images, chance()), images / 255, atol=1e-5, rtol=0)
    assert NEUTRAL(images, chance()).shape == images.shape


def test_crop_is_the_part_it_says():
    """A quarter of the area at the top left of a ramp spans the first half of it on both axes."""
    ramp = torch.linspace(0, 1, 40).expand(1, 1, 40, 40)
    matrix = matrices.crop_matrix(*(each(v) for v in (0.25, 0.0, 0.0, 1.0)))
    out = augment.warp(ramp, matrix)[0, 0, 0]
    assert out[0].item() == pytest.approx(0, abs=0.02)
    assert out[-1].item() == pytest.approx(0.5, abs=0.02)
    columns = augment.warp(ramp.transpose(2, 3), matrix)[0, 0, :, 0]
    assert columns[0].item() == pytest.approx(0.5, abs=0.02)
    assert columns[-1].item() == pytest.approx(1, abs=0.02)


def test_flip_and_shift_are_exact():
    images = raw()
    flipped = WeakView(flip=1.0, shift=0.0)(images, chance())
    torch.testing.assert_close(flipped, images.flip(3) / 255, atol=1e-5, rtol=0)
    matrix = matrices.affine_matrix(*[each(0)] * 3, each(2 * 2 / 10), each(3 * 2 / 12))
    moved = augment.warp(images[:1] / 255, matrix)  # output (y, x) shows input (y + 3, x + 2)
    torch.testing.assert_close(moved[:, :, :9, :8], images[:1, :, 3:, 2:] / 255, atol=1e-5, rtol=0)


def test_all_shifts_are_as_likely():
    ramp = torch.arange(0, 160, 10, dtype=torch.uint8).expand(9000, 1, 16, 16)  # 10 for each column
    moved = WeakView(flip=0.0, shift=0.25)(ramp, chance())
    counts = (moved[:, 0, 8, 8] * 25.5).round().long().bincount().tolist()  # columns 4 to 12 come to lie at 8
    assert counts[:4] == [0, 0, 0, 0]
    assert all(900 < count < 1100 for count in counts[4:])
    assert len(counts) == 13


def test_a_quarter_turn_is_rot90():
    square = torch.rand(1, 1, 9, 9, generator=torch.Generator().manual_seed(0))
    matrix = matrices.affine_matrix(each(math.pi / 2), *[each(0)] * 4)
    torch.testing.assert_close(augment.warp(square, matrix), square.rot90(1, (2, 3)), atol=1e-5, rtol=0)


def test_turn_is_shear_after_rotation():
    angle, shear_x, shear_y = 0.5, 0.3, -0.2
    rotation = torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    expected = torch.tensor([[1, shear_x], [shear_y, 1]]) @ rotation
    matrix = matrices.affine_matrix(*(each(v) for v in (angle, shear_x, shear_y, 0.1, 0.4)))
    np.testing.assert_allclose(matrix[0], torch.cat([expected, torch.tensor([[0.1], [0.4]])], 1), atol=1e-6)


def changed(images, **factors):
    """The images in other colours, each by its own factors."""
    plain = np.ones(len(images), np.float32)
    factors = {"brightness": plain, "contrast": plain, "saturation": plain, "turns": 0 * plain} | factors
    images = augment.brightness(images, factors.pop("brightness"))
    return augment.colour(images, *matrices.colour_matrix(images.shape[1], **factors))


@pytest.mark.parametrize("channels", [1, 3, 5])
def test_colour_operations_against_one_pixel_at_a_time(channels):
    images = raw(b=2, c=channels).float() / 255
    shares = np.array(matrices.LUMA) if channels == 3 else np.full(channels, 1 / channels)
    for name in ("brightness", "contrast", "saturation"):
        for image, factor in zip(images, (0.5, 1.4), strict=True):
            x = image.numpy()
            grey = np.tensordot(shares, x, 1)[None]
            other = {"brightness": 0, "contrast": grey.mean(), "saturation": grey}[name]
            found = changed(image[None], **{name: each(factor)})[0].numpy()
            np.testing.assert_allclose(found, np.clip(other + factor * (x - other), 0, 1), atol=1e-5)


def test_colours_together_are_one_after_the_other_cut_once():
    images = 0.3 + 0.1 * raw(b=2).float() / 255  # nothing leaves [0, 1] on the way
    factors = {name: each(*pair) for name, pair in {
        "brightness": (0.8, 1.2), "contrast": (1.3, 0.7), "saturation": (0.4, 1.5), "turns": (0.1, -0.05)
    }.items()}  # fmt: skip
    one_by_one = images
    for name, factor in factors.items():
        one_by_one = changed(one_by_one, **{name: factor})
    torch.testing.assert_close(changed(images, **factors), one_by_one)


def test_hue_keeps_grey_and_mean_and_a_third_of_a_turn_makes_red_green():
    images = raw(b=2).float() / 255
    turned = changed(images, turns=each(1 / 3, 0))
    torch.testing.assert_close(turned[1], images[1], atol=1e-6, rtol=0)
    torch.testing.assert_close(turned[0], images[0].roll(1, 0), atol=1e-5, rtol=0)  # red becomes green
    small = 0.4 + 0.1 * images
    torch.testing.assert_close(changed(small, turns=each(0.2, 0.4)).mean(1), small.mean(1))
    grey = images[:, :1].expand(-1, 3, -1, -1)
    torch.testing.assert_close(changed(grey, turns=each(0.2, 0.4)), grey, atol=1e-5, rtol=0)


def test_blur_against_loops():
    images = torch.rand(2, 1, 25, 20, generator=torch.Generator().manual_seed(0))
    out = augment.blur(images, each(0, 1.3))
    torch.testing.assert_close(out[0], images[0])
    weights = [math.exp(-(o**2) / (2 * 1.3**2)) for o in (-1, 0, 1)]
    x = images[1, 0]
    expected = sum(
        weights[i] * weights[j] / sum(weights) ** 2 * x[10 + i - 1, 7 + j - 1].item()
        for i in range(3)
        for j in range(3)
    )
    assert out[1, 0, 10, 7].item() == pytest.approx(expected, rel=1e-5)


def test_solarize_posterize_cutout():
    images = torch.tensor([0.1, 0.6, 0.9]).reshape(1, 1, 1, 3).repeat(2, 1, 4, 1)
    assert augment.solarize(images, each(0.5, 2))[:, 0, 0].tolist() == [
        pytest.approx([0.1, 0.4, 0.1]), pytest.approx([0.1, 0.6, 0.9])
    ]  # fmt: skip
    assert augment.posterize(images, each(4, 2))[:, 0, 0].tolist() == [
        pytest.approx([0, 0.5, 0.75]), pytest.approx([0, 0.5, 0.5])
    ]  # fmt: skip
    hole = augment.cutout(torch.ones(1, 1, 8, 8), *(each(v) for v in (0.5, 0.25, 0.5)), fill=0.0)
    assert (hole == 0).nonzero()[:, 2:].tolist() == [[y, x] for y in range(4) for x in range(2, 6)]


def only(**values):
    """A view of the whole image, unflipped, in which nothing happens but this."""
    return NEUTRAL.model_copy(update=values)


@pytest.mark.parametrize("channels", [1, 3, 5])
@pytest.mark.parametrize("view", [CONTRASTIVE, only(solarize_prob=0.5), only()], ids=["all", "solarize", "few"])
def test_a_contrastive_view_is_its_crops_and_then_its_colours_which_draw_alike_for_all_images(channels, view):
    """What reads images ahead passes over the colours' draws on blank images of one pixel."""
    images = raw(c=channels, h=12, w=12)
    whole, halves, blank = chance(3), chance(3), chance(3)
    cropped = augment.warp(images / 255, view.crops(6, halves).matrix())
    assert torch.equal(view(images, whole), view.photometric(cropped, halves))
    view.crops(6, blank)
    view.photometric(torch.zeros(6, channels, 1, 1), blank)
    after = whole.uniform(6, UNIT)
    np.testing.assert_array_equal(halves.uniform(6, UNIT), after)
    np.testing.assert_array_equal(blank.uniform(6, UNIT), after)


@pytest.mark.parametrize("channels", [1, 3, 5])
def test_colours_of_any_number_of_channels(channels):
    images = raw(c=channels).float() / 255
    lost = only(grey_prob=1.0).photometric(images, chance())
    grey = changed(images, saturation=each(*[0] * 6))
    torch.testing.assert_close(lost, images if channels == 1 else grey, atol=1e-5, rtol=0)
    still = only().photometric(images, chance())
    torch.testing.assert_close(still, images, atol=1e-5, rtol=0)
    turned = changed(images, turns=each(*[0.2] * 6))
    assert torch.allclose(turned, images, atol=1e-6) == (channels != 3)
    jittered = only(jitter_prob=1.0, hue=0.0).photometric(images, chance())
    assert (jittered - images).abs().flatten(1).amax(1).min() > 0.01


def test_solarize_turns_the_bright_half_of_its_share_of_the_images():
    images = raw(b=400, c=3, h=4, w=4).float() / 255
    turned = torch.where(images >= 0.5, 1 - images, images)
    torch.testing.assert_close(only(solarize_prob=1.0).photometric(images, chance()), turned, atol=1e-5, rtol=0)
    some = only(solarize_prob=0.25).photometric(images, chance())
    was, is_turned = ((some - other).abs().flatten(1).amax(1) < 1e-5 for other in (images, turned))
    assert (was | is_turned).all()
    assert 70 < is_turned.sum() < 130


def test_crops_have_areas_between_the_least_and_the_most():
    crops = only(crop_min=0.2, crop_max=0.3, flip=0.25).crops(2000, chance())
    assert 0.2 <= crops.area.min() < 0.201
    assert 0.299 < crops.area.max() <= 0.3
    assert math.log(3 / 4) <= crops.log_ratio.min() < -0.28
    assert 0.28 < crops.log_ratio.max() <= math.log(4 / 3)
    assert crops.flipped.mean() == pytest.approx(0.25, abs=0.04)
    matrix = crops.matrix()
    shares = abs(matrix[:, 0, 0]) * matrix[:, 1, 1]  # none meets a side of the image
    np.testing.assert_allclose(shares, crops.area, rtol=1e-5)
    assert (matrix[:, 0, 0] < 0).tolist() == crops.flipped.tolist()


def test_a_least_area_above_the_most_is_refused():
    with pytest.raises(ValidationError, match=r"crop_min of at most crop_max, 0\.3"):
        ContrastiveView(**{**NEUTRAL.model_dump(), "crop_min": 0.4, "crop_max": 0.3})


@pytest.mark.parametrize("channels", [1, 3, 5])
def test_a_view_of_another_size_shows_the_same_part(channels):
    images = torch.linspace(0, 255, 24).round().to(torch.uint8).expand(6, channels, 24, 24).contiguous()
    view = only(crop_min=0.3, crop_max=0.6)
    large, small = view(images, chance(2)), view(images, chance(2), (12, 6))
    assert small.shape == (6, channels, 12, 6)
    expected = large.reshape(6, channels, 12, 2, 6, 4).mean((3, 5))
    torch.testing.assert_close(small, expected, atol=0.02, rtol=0)  # of a ramp, a sample is as good as a mean


def test_local_crops_are_the_large_view_of_small_parts():
    local = LocalCrops(count=4, side=96 / 224, crop_min=0.05, crop_max=0.14)
    assert local.size((224, 224), "") == (96, 96)
    assert local.size((32, 64), "") == (14, 27)
    with pytest.raises(
        ParamsError, match=r"^a\.b\.side: expected at least 0\.500 for images of 4 x 9, 2 pixels, got 0\.3"
    ):
        local.model_copy(update={"side": 0.3}).size((4, 9), "a.b")
    view = local.view(CONTRASTIVE)
    assert view.model_dump() == {**CONTRASTIVE.model_dump(), "crop_min": 0.05, "crop_max": 0.14}
    assert CONTRASTIVE.crop_min == 0.4
    area = view.crops(500, chance()).area
    assert 0.05 <= area.min() < area.max() <= 0.14
