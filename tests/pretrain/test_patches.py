"""Pretext tasks on parts of images: their patches cut by slicing, the loss of these, and what is drawn."""

import itertools

import pytest
import torch

from pipeline.base.errors import ParamsError
from pipeline.pretrain.methods.jigsaw import distant_orders
from tests.digits import self_supervised
from tests.oracles.algebra import cross_entropy
from tests.pretrain.family import seeded_loss


def cells(images, grid):
    """(b, grid^2, c, h / grid, w / grid), row by row."""
    side = images.shape[2] // grid
    rows = [images[:, :, i : i + side] for i in range(0, images.shape[2], side)]
    return torch.stack([row[..., j : j + side] for row in rows for j in range(0, images.shape[3], side)], dim=1)


def mean_ce(logits, classes):
    terms = [cross_entropy(row, right) for row, right in zip(logits.tolist(), classes, strict=True)]
    return sum(terms) / len(terms)


def test_jigsaws_loss_is_that_of_cells_in_the_order_that_was_drawn():
    method, feed = self_supervised("jigsaw", patch=1.0)
    views = feed(0)
    torch.manual_seed(3)
    _, which = method.pieces(views.first)
    assert len(set(which.tolist())) > 3
    pieces = [[cells(views.first, 2)[i, cell] for cell in method.orders[n]] for i, n in enumerate(which)]
    h = method.backbone(torch.stack([piece for row in pieces for piece in row]))
    z = method.piece_head(h)
    logits = torch.stack([method.classify(torch.cat(list(z[4 * i : 4 * i + 4]))) for i in range(8)])
    assert seeded_loss(method, views, 3).loss.item() == pytest.approx(mean_ce(logits, which.tolist()), rel=1e-4)


def distance(one, other):
    return sum(a != b for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("count", [2, 5, 24])
def test_each_further_order_is_as_far_from_the_chosen_ones_as_any(count):
    orders = distant_orders(4, count, torch.Generator().manual_seed(0)).tolist()
    for i in range(1, count):
        farthest = max(min(distance(p, q) for q in orders[:i]) for p in itertools.permutations(range(4)))
        assert min(distance(orders[i], q) for q in orders[:i]) == farthest
    assert len({tuple(order) for order in orders}) == count


def test_orders_of_nine_cells_share_no_place_as_long_as_there_are_such():
    orders = distant_orders(9, 9, torch.Generator().manual_seed(0))
    assert all(sorted(place) == list(range(9)) for place in orders.T.tolist())
    assert not torch.equal(orders, distant_orders(9, 9, torch.Generator().manual_seed(1)))


def test_cells_of_jigsaw_that_are_too_small_are_refused():
    method, _ = self_supervised("jigsaw", grid=3)
    with pytest.raises(ParamsError, match=r"^pretrain.jigsaw.grid: expected at most 2 in images of 8 x 8, .* got 3$"):
        method.pieces(torch.rand(2, 1, 8, 8))
