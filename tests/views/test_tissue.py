"""Views of stained tissue: a jitter of the stains, quarter turns and both flips, against pixels solved by hand."""

import math

import numpy as np
import pytest
import torch

from pipeline.base.errors import ParamsError
from pipeline.views import augment, matrices
from pipeline.views.chance import UNIT
from tests.method_values import CONTRASTIVE
from tests.views.samples import NEUTRAL, chance, each, raw


def test_a_jitter_of_stains_scales_and_shifts_their_amounts():
    """Each pixel's optical densities are a sum of the stains' (Ruifrok and Johnston 2001), solved for by hand."""
    stains = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11], [0.27, 0.57, 0.78]])
    pixels = np.random.default_rng(0).uniform(0.05, 1, (2, 3, 4, 5))
    scale, shift = np.array([[0.9, 1.1, 1.0], [1.2, 0.8, 1.05]]), np.array([[0.1, -0.05, 0.0], [0.0, 0.02, -0.03]])
    expected = np.empty_like(pixels)
    for i in range(2):
        for row in range(4):
            for column in range(5):
                amounts = np.linalg.solve(stains.T, -np.log(pixels[i, :, row, column]))
                density = sum((scale[i, j] * amounts[j] + shift[i, j]) * stains[j] for j in range(3))
                expected[i, :, row, column] = np.exp(-density).clip(0, 1)
    found = augment.stain(torch.from_numpy(pixels).float(), *matrices.stain_matrix(each(*scale), each(*shift)))
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-6)
    pure = torch.from_numpy(np.exp(-0.7 * stains[0])).float()[None, :, None, None]
    more = augment.stain(pure, *matrices.stain_matrix(each([1.5, 1, 1]), each([0, 0, 0])))
    np.testing.assert_allclose(more.flatten().numpy(), np.exp(-1.05 * stains[0]), atol=1e-6)


def test_stains_that_stay_leave_the_image():
    """To RGB's optical densities and back: all colours that bytes have, black and the edges of the cube among them."""
    levels = torch.tensor([0, 1, 2, 7, 60, 127, 128, 200, 254, 255]) / 255
    colours = torch.cartesian_prod(levels, levels, levels).T.reshape(1, 3, 20, 50)
    same = augment.stain(colours, *matrices.stain_matrix(each([1, 1, 1]), each([0, 0, 0])))
    torch.testing.assert_close(same, colours, atol=1e-6, rtol=0)


def test_a_views_stains_vary_by_its_limit():
    view = NEUTRAL.model_copy(update={"stain": 0.1})
    white, grey = torch.ones(300, 3, 2, 2), torch.full((300, 3, 2, 2), 0.5)
    most = torch.tensor([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11], [0.27, 0.57, 0.78]]).sum(0) * 0.1
    density = -view.photometric(white, chance()).log()[:, :, 0, 0]  # white has no stain to scale
    assert (density <= most + 1e-5).all()
    assert (density.amax(0) > 0.6 * most).all()
    both = -view.photometric(grey, chance()).log()[:, :, 0, 0] / math.log(2)
    assert both.mean().item() == pytest.approx(1, abs=0.02)
    assert both.std().item() > 0.05


def test_turns_and_flips_give_all_eight_positions_equally_often():
    """The horizontal flip is the crop's, so here half of the images have it already."""
    image = torch.arange(36.0).reshape(1, 1, 6, 6) / 64
    view = NEUTRAL.model_copy(update={"flip_down": 0.5, "turn_prob": 0.5})
    seen = view.photometric(torch.cat([image, image.flip(3)]).repeat(2000, 1, 1, 1), chance())
    positions = [turned.rot90(k, (1, 2)) for turned in (image[0], image[0].flip(2)) for k in range(4)]
    counts = [int(torch.isclose(seen, position).all(3).all(2).all(1).sum()) for position in positions]
    assert sum(counts) == 4000
    assert all(400 < count < 600 for count in counts)
    for update, expected in (({"flip_down": 1.0}, image.flip(2)), ({"turn_prob": 1.0}, image.rot90(1, (2, 3)))):
        found = NEUTRAL.model_copy(update=update).photometric(image, chance())
        torch.testing.assert_close(found, expected)


def test_new_steps_leave_the_others_draws_alone():
    """A stain that is nearly none gives the view without it: its draws come first, those of the colours after them."""
    images = raw(h=12, w=12)
    drawn = chance(3)
    drawn.uniform(6, *[UNIT] * 2)
    expected = CONTRASTIVE.photometric(images / 255, drawn)
    found = CONTRASTIVE.model_copy(update={"flip_down": 1e-9}).photometric(images / 255, chance(3))
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(
    ("update", "channels", "said"),
    [
        ({"turn_prob": 0.5}, 3, "view.turn_prob: expected 0 for images of 12 x 10, got 0.5"),
        ({"stain": 0.05}, 1, r"view.stain: expected 0 unless images are RGB \(ingest.mode: rgb\), got 0.05"),
    ],
)
def test_what_a_view_refuses(update, channels, said):
    with pytest.raises(ParamsError, match=said):
        NEUTRAL.model_copy(update=update)(raw(c=channels), chance())
