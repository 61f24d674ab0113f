"""PIRL: how its pieces are drawn, both halves of its loss, and what it refuses."""

import pytest
import torch
import torch.nn.functional as F

from pipeline.base.errors import ParamsError
from pipeline.pretrain.feed import Views
from tests.digits import self_supervised
from tests.oracles import npid
from tests.pretrain.family import seeded_loss


def projections(method, views):
    """f and g, unit vectors, as the paper's figure has them."""
    f = method.image_head(method.backbone(views.first))
    pieces = method.pieces(views.second)
    parts = [method.piece_head(method.backbone(pieces.flatten(0, 1)))[i :: pieces.shape[1]] for i in range(4)]
    g = method.join(torch.cat(parts, dim=1))
    return F.normalize(f, dim=1).detach(), F.normalize(g, dim=1).detach()


@pytest.mark.parametrize("negatives", [0, 32])
@pytest.mark.parametrize("head_norm", [True, False])
def test_loss_is_half_that_of_the_images_and_half_that_of_their_pieces(negatives, head_norm):
    method, feed = self_supervised("pirl", negatives=negatives, head_norm=head_norm)
    views = feed(0)
    torch.manual_seed(3)
    f, g = (z.tolist() for z in projections(method, views))
    noise = torch.randint(300, (negatives,)).tolist()
    rows, instance = method.bank.rows.tolist(), views.rows.tolist()
    if negatives:
        z = npid.constant(f + g, rows, noise, 0.1)
        halves = [npid.nce(q, rows, instance, noise, z, 0.1) for q in (f, g)]
    else:
        halves = [npid.softmax(q, rows, instance, 0.1) for q in (f, g)]
    assert seeded_loss(method, views, 3).loss.item() == pytest.approx(sum(halves) / 2, rel=1e-3)
    assert halves[0] != pytest.approx(halves[1], rel=1e-3)


def test_the_features_of_the_second_view_are_the_mean_of_the_pieces():
    method, feed = self_supervised("pirl")
    views = feed(0)
    step = seeded_loss(method, views, 3)
    torch.manual_seed(3)
    parts = method.backbone(method.pieces(views.second).flatten(0, 1)).reshape(8, 4, 64)
    torch.testing.assert_close(step.features[1], parts.mean(1))


@pytest.mark.parametrize("channels", [1, 3])
def test_pieces_have_an_order_and_a_place_of_each_images_own(channels):
    method, _ = self_supervised("pirl")
    cells = torch.arange(4.0).reshape(1, 1, 2, 2).repeat_interleave(8, 2).repeat_interleave(8, 3)
    torch.manual_seed(0)
    pieces = method.pieces(cells.expand(64, channels, -1, -1))
    assert pieces.shape == (64, 4, channels, 6, 6)
    orders = {tuple(row) for row in pieces[:, :, 0, 3, 3].round().int().tolist()}
    assert len(orders) > 15  # of 24
    assert all(sorted(order) == [0, 1, 2, 3] for order in orders)
    ramp = torch.arange(16.0).expand(64, channels, 16, 16)
    assert len({round(value, 3) for value in method.pieces(ramp)[:, 0, 0, 0, 0].tolist()}) > 50


def test_the_bank_moves_to_the_images_and_not_to_the_pieces():
    method, feed = self_supervised("pirl")
    before, views = method.bank.rows.clone(), feed(0)
    f, _ = projections(method, views)
    method.loss(views)
    method.after_step(1, 10)
    torch.testing.assert_close(method.bank.rows[views.rows], f, rtol=1e-4, atol=1e-5)
    assert (method.bank.rows != before).any(dim=1).sum() == 8


@pytest.mark.parametrize(("h", "w", "grid", "most"), [(8, 8, 3, 2), (11, 40, 3, 2), (40, 19, 5, 4)])
def test_cells_that_are_too_small_are_refused(h, w, grid, most):
    method, _ = self_supervised("pirl", grid=grid)
    x = torch.rand(2, 1, h, w)
    message = f"^pretrain.pirl.grid: expected at most {most} in images of {h} x {w}, for cells of 4 pixels, got {grid}$"
    with pytest.raises(ParamsError, match=message):
        method.loss(Views(x, x, torch.empty(0, 2, 1, h, w), torch.arange(2)))
    assert method.pieces(torch.rand(2, 1, 4 * grid, 4 * grid)).shape == (2, grid**2, 1, 3, 3)
