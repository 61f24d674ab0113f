"""Crops of cells against bilinear ones, one pixel at a time."""

import pytest
import torch

from pipeline.pretrain.cells import crops_of_cells
from tests.oracles import cells as oracle


def images(b=3, c=3, h=12, w=12):
    return torch.rand(b, c, h, w, generator=torch.Generator().manual_seed(0))


def drawn(b, p):
    order, across, down = torch.rand(3, b, p, generator=torch.Generator().manual_seed(1))
    return order.argsort(dim=1), across, down


@pytest.mark.parametrize("channels", [1, 2, 5])
@pytest.mark.parametrize(("h", "w", "grid"), [(12, 12, 3), (13, 10, 2), (17, 20, 3)])
def test_pieces_are_the_crops_of_their_cells(channels, h, w, grid):
    x, (order, across, down) = images(2, channels, h, w), drawn(2, grid**2)
    out = crops_of_cells(x, order, across, down, 0.75)
    size = round(h / grid * 0.75), round(w / grid * 0.75)
    assert out.shape == (2, grid**2, channels, *size)
    for i in range(2):
        for j in (0, grid**2 - 1):
            place = int(order[i, j]), across[i, j].item(), down[i, j].item()
            expected = oracle.piece(x[i, -1].tolist(), grid, *place, 0.75, size)
            torch.testing.assert_close(out[i, j, -1], torch.tensor(expected), rtol=1e-4, atol=1e-5)


def test_a_piece_has_a_pixel_at_least():
    assert crops_of_cells(images(), *drawn(3, 9), 0.01).shape == (3, 9, 3, 1, 1)


def test_whole_cells_in_order_are_the_image_itself():
    x = images()
    order, anywhere = torch.arange(9).expand(3, 9), torch.rand(3, 9)  # nothing is free: the place does not matter
    out = crops_of_cells(x, order, anywhere, anywhere, 1.0)
    for j in range(9):
        top, left = 4 * (j // 3), 4 * (j % 3)
        torch.testing.assert_close(out[:, j], x[:, :, top : top + 4, left : left + 4], rtol=0, atol=1e-5)
