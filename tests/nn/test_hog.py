"""HOG beside loops over one image, and what it must not depend on."""

import pytest
import torch

from pipeline.nn.hog import hog
from tests.oracles.hog import hog as in_loops


def pictures(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.double)


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 8, 8), (3, 40, 56), (1, 5, 3), (2, 1, 7), (1, 1, 1)])
def test_it_is_the_loops(shape):
    images = pictures(3, *shape)
    expected = torch.tensor([in_loops(image.tolist()) for image in images], dtype=torch.double)
    torch.testing.assert_close(hog(images), expected, rtol=0, atol=1e-12)


def test_blocks_are_of_unit_length_and_nine_blocks_of_four_cells_of_nine_orientations():
    blocks = hog(pictures(2, 3, 64, 64)).reshape(2, 36, 9)
    torch.testing.assert_close(blocks.norm(dim=1), torch.ones(2, 9, dtype=torch.double), rtol=0, atol=0.02)


def test_flat_images_have_zeros_and_brightness_changes_nothing():
    assert hog(torch.full((2, 3, 28, 28), 0.7)).eq(0).all()
    images = pictures(2, 1, 28, 28) * 0.5
    torch.testing.assert_close(hog(images), hog(images + 0.3), rtol=0, atol=1e-9)
    torch.testing.assert_close(hog(images), hog(1 - images), rtol=0, atol=1e-9)  # dark on light is light on dark


def test_an_edge_votes_for_its_own_orientation():
    stripes = torch.zeros(1, 1, 32, 32)
    stripes[..., ::8] = 1
    across, along = (hog(images).reshape(9, 4, 9) for images in (stripes, stripes.mT))
    assert across.sum(dim=(1, 2)).argmax() == 0
    assert along.sum(dim=(1, 2)).topk(2).indices.sort().values.tolist() == [4, 5]  # 90 degrees lie between the two
