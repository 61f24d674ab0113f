"""Jigsaw pieces against bilinear crops one pixel at a time, and where they are exact."""

import pytest
import torch

from pipeline.pretrain.jigsaw import jigsaw
from tests.oracles import jigsaw as oracle


def images(b=3, c=3, h=12, w=12):
    return torch.rand(b, c, h, w, generator=torch.Generator().manual_seed(0))


def drawn(b, p):
    order, across, down = torch.rand(3, b, p, generator=torch.Generator().manual_seed(1))
    return order.argsort(dim=1), across, down


@pytest.mark.parametrize("channels", [1, 2, 3, 5])
@pytest.mark.parametrize(("h", "w", "grid"), [(12, 12, 3), (13, 10, 2), (17, 20, 3)])
def test_pieces_are_the_crops_of_their_cells(channels, h, w, grid):
    x, (order, across, down) = images(2, channels, h, w), drawn(2, grid**2)
    out = jigsaw(x, order, across, down, 0.75)
    size = round(h / grid * 0.75), round(w / grid * 0.75)
    assert out.shape == (2, grid**2, channels, *size)
    for i in range(2):
        for j in (0, grid**2 - 1):
            place = int(order[i, j]), across[i, j].item(), down[i, j].item()
            expected = oracle.piece(x[i, -1].tolist(), grid, *place, 0.75, size)
            torch.testing.assert_close(out[i, j, -1], torch.tensor(expected), rtol=1e-4, atol=1e-5)


def test_whole_cells_in_order_are_the_image_itself():
    x = images()
    order = torch.arange(9).expand(3, 9)
    out = jigsaw(x, order, torch.rand(3, 9), torch.rand(3, 9), 1.0)  # nothing is free, so the place does not matter
    for j in range(9):
        top, left = 4 * (j // 3), 4 * (j % 3)
        torch.testing.assert_close(out[:, j], x[:, :, top : top + 4, left : left + 4], rtol=0, atol=1e-5)


@pytest.mark.parametrize(("across", "down", "left", "top"), [(0, 0, 0, 0), (1, 0, 2, 0), (0, 1, 0, 2), (0.5, 1, 1, 2)])
def test_a_crop_at_whole_pixels_has_the_images_own(across, down, left, top):
    x = images(1)
    one = torch.ones(1, 9)
    out = jigsaw(x, torch.arange(9)[None], across * one, down * one, 0.5)
    expected = x[0, :, 4 + top : 6 + top, 8 + left : 10 + left]  # cell 5 is the last of the middle row
    torch.testing.assert_close(out[0, 5], expected, rtol=0, atol=1e-5)


def test_each_image_has_its_own_order():
    x = images()
    order = torch.stack([torch.arange(9), torch.arange(9).flip(0), torch.arange(9).roll(2)])
    half = torch.full((3, 9), 0.5)
    straight = jigsaw(x, torch.arange(9).expand(3, 9), half, half, 0.75)
    out = jigsaw(x, order, half, half, 0.75)
    for i in range(3):
        torch.testing.assert_close(out[i], straight[i, order[i]], rtol=0, atol=1e-6)
    assert not torch.allclose(out[1], straight[1])


def test_pieces_stay_in_their_cells():
    """Cells of one value each, however the crops lie."""
    flat = torch.arange(9.0).reshape(1, 1, 3, 3).repeat_interleave(6, 2).repeat_interleave(6, 3)
    order, across, down = drawn(1, 9)
    out = jigsaw(
        flat, order, across, down, 0.6
    )  # 3.6 pixels at 4: a sample less than half a pixel from the border mixes
    inner = out[0, :, 0, 1:-1, 1:-1]
    torch.testing.assert_close(inner, order[0].float()[:, None, None].expand_as(inner), rtol=0, atol=1e-5)


def test_a_small_share_leaves_a_pixel():
    order, across, down = drawn(3, 9)
    assert jigsaw(images(), order, across, down, 0.01).shape == (3, 9, 3, 1, 1)
