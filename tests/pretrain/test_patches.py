"""Pretext tasks on parts of images: their patches cut by slicing, the loss of these, and what is drawn."""

import itertools
from dataclasses import replace

import pytest
import torch

from pipeline.base.errors import ParamsError
from pipeline.pretrain.methods.context import standardised
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


def image(side=24, channels=1, count=8):
    return torch.rand(count, channels, side, side, generator=torch.Generator().manual_seed(0))


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


def test_contexts_loss_is_that_of_the_sides_of_eight_neighbours():
    """Each patch has mean 0 and deviation 1 behind the backbone's own normalisation."""
    method, feed = self_supervised("context")
    views = replace(feed(0), first=image(), second=image())
    patches = cells(views.first, 3).flatten(0, 1)
    alone = torch.stack([(patch - patch.mean()) / patch.std(correction=0) for patch in patches])
    h = method.backbone.body(alone).reshape(8, 9, -1)
    pairs = [torch.cat([h[i, 4], h[i, j]]) for i in range(8) for j in (0, 1, 2, 3, 5, 6, 7, 8)]
    logits = method.classify(torch.stack(pairs))
    assert seeded_loss(method, views).loss.item() == pytest.approx(mean_ce(logits, list(range(8)) * 8), rel=1e-4)


def test_a_patch_of_context_keeps_one_colour_and_a_flat_one_is_nothing():
    method, _ = self_supervised("context", channels=3)
    torch.manual_seed(0)
    patches = (method.patches(image(channels=3)) - method.backbone.mean) / method.backbone.std
    spread = patches.std((3, 4), correction=0)
    torch.testing.assert_close(spread.sort(dim=2).values, torch.tensor([0.0, 0, 1]).expand(8, 9, 3), atol=1e-3, rtol=0)
    assert all(len(set(row)) > 1 for row in spread.argmax(dim=2).tolist())
    assert set(spread.argmax(dim=2).flatten().tolist()) == {0, 1, 2}
    assert standardised(torch.full((1, 1, 3, 4, 4), 0.3)).abs().max() < 1e-4


@pytest.mark.parametrize(("jitter", "first", "last"), [(0.0, 2, 2), (0.5, 1, 3), (1.0, 0, 4)])
def test_patches_of_context_lie_in_the_middle_of_their_cells_but_for_the_jitter(jitter, first, last, monkeypatch):
    """Cells of eight pixels, patches of four: the left pixel of a patch tells its column on a ramp."""
    monkeypatch.setattr("pipeline.pretrain.methods.context.standardised", lambda patches, _: patches)
    method, _ = self_supervised("context", patch=0.5, jitter=jitter)
    ramp = torch.arange(24.0).expand(64, 1, 24, 24)
    torch.manual_seed(0)
    patches = (method.patches(ramp) - method.backbone.mean) / method.backbone.std
    places = patches[:, :, 0, 0, 0].reshape(64, 3, 3) - torch.tensor([0.0, 8, 16])
    assert first - 1e-3 <= places.min() <= first + 0.1
    assert last - 0.1 <= places.max() <= last + 1e-3


def test_patches_of_context_that_are_too_small_are_refused():
    method, _ = self_supervised("context", patch=0.5)
    message = "^pretrain.context.patch: expected 2 pixels or more of a third of 8, got 0.5$"
    with pytest.raises(ParamsError, match=message):
        method.patches(torch.rand(2, 1, 8, 8))
    assert method.patches(torch.rand(2, 1, 9, 9)).shape == (2, 9, 1, 2, 2)
