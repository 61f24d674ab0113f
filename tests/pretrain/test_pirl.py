"""PIRL: both halves of its loss, its pieces, its bank, and what it refuses."""

import pytest
import torch
import torch.nn.functional as F

from pipeline.base.errors import ParamsError
from pipeline.fit import fit
from pipeline.nn.device import Device
from pipeline.parallel import dist
from pipeline.pretrain.feed import Feed, Views
from pipeline.pretrain.methods.pirl import Pirl, PirlParams
from tests.digits import CONTRASTIVE, OPTIM, backbone, digits
from tests.oracles import npid as oracle

PARAMS = {
    "dim": 8, "head_norm": True, "temperature": 0.1, "negatives": 0, "bank_keep": 0.5, "grid": 2, "patch": 0.75,
}  # fmt: skip


def made(num_images=300, batch_size=8, **changes):
    method = Pirl(backbone(), PirlParams(**{**PARAMS, **changes}), num_images, torch.Generator().manual_seed(0))
    return method, Feed(digits()[0][:num_images], (CONTRASTIVE, CONTRASTIVE), None, batch_size, seed=0)


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
    method, feed = made(negatives=negatives, head_norm=head_norm)
    views = feed(0)
    torch.manual_seed(3)
    f, g = (z.tolist() for z in projections(method, views))
    noise = torch.randint(300, (negatives,)).tolist()
    rows, own = method.others.bank.rows.tolist(), views.rows.tolist()
    if negatives:
        z = oracle.constant(f + g, rows, noise, 0.1)
        halves = [oracle.nce(q, rows, own, noise, z, 0.1) for q in (f, g)]
    else:
        halves = [oracle.softmax(q, rows, own, 0.1) for q in (f, g)]
    torch.manual_seed(3)
    step = method.loss(views)
    assert step.loss.item() == pytest.approx(sum(halves) / 2, rel=1e-3)
    assert halves[0] != pytest.approx(halves[1], rel=1e-3)
    torch.manual_seed(3)
    assert torch.equal(step.loss, method.loss(views).loss)


def test_features_are_those_of_the_image_and_the_mean_of_the_pieces():
    method, feed = made()
    views = feed(0)
    torch.manual_seed(3)
    step = method.loss(views)
    torch.manual_seed(3)
    pieces = method.pieces(views.second)
    assert [h.shape for h in step.features] == [(8, 64), (8, 64)]
    torch.testing.assert_close(step.features[0], method.backbone(views.first))
    parts = method.backbone(pieces.flatten(0, 1)).reshape(8, 4, 64)
    torch.testing.assert_close(step.features[1], parts.mean(1))
    assert all(h.requires_grad for h in step.features)


@pytest.mark.parametrize("channels", [1, 3])
def test_pieces_have_an_order_and_a_place_of_each_images_own(channels):
    method, _ = made()
    cells = torch.arange(4.0).reshape(1, 1, 2, 2).repeat_interleave(8, 2).repeat_interleave(8, 3)
    torch.manual_seed(0)
    pieces = method.pieces(cells.expand(64, channels, -1, -1))
    assert pieces.shape == (64, 4, channels, 6, 6)
    orders = {tuple(row) for row in pieces[:, :, 0, 3, 3].round().int().tolist()}
    assert len(orders) > 15  # of 24
    assert all(sorted(order) == [0, 1, 2, 3] for order in orders)
    ramp = torch.arange(16.0).expand(64, channels, 16, 16)
    assert len({round(value, 3) for value in method.pieces(ramp)[:, 0, 0, 0, 0].tolist()}) > 50


def test_each_process_draws_for_all_and_takes_its_part(monkeypatch):
    method, feed = made()
    images = feed(0).second
    torch.manual_seed(0)
    whole = method.pieces(images)
    monkeypatch.setattr(dist, "world", lambda: 2)
    for rank in range(2):
        monkeypatch.setattr(dist, "rank", lambda rank=rank: rank)
        torch.manual_seed(0)
        assert torch.equal(method.pieces(images[4 * rank : 4 * rank + 4]), whole[4 * rank : 4 * rank + 4])


def test_the_bank_moves_to_the_images_and_not_to_the_pieces():
    method, feed = made()
    before = method.others.bank.rows.clone()
    views = feed(0)
    f, _ = projections(method, views)
    method.loss(views)
    assert torch.equal(method.others.bank.rows, before)
    method.after_step(1, 10)
    torch.testing.assert_close(method.others.bank.rows[views.rows], f, rtol=1e-4, atol=1e-5)
    assert (method.others.bank.rows != before).any(dim=1).sum() == 8


def test_gradients_reach_every_weight():
    method, feed = made()
    method.loss(feed(0)).loss.backward()
    assert all(p.grad is not None for p in method.parameters())
    assert all(p.grad.abs().sum() > 0 for p in method.parameters() if p.ndim > 1)


@pytest.mark.parametrize(("h", "w", "grid", "most"), [(8, 8, 3, 2), (11, 40, 3, 2), (40, 19, 5, 4)])
def test_cells_that_are_too_small_are_refused(h, w, grid, most):
    method, _ = made(grid=grid)
    images = torch.rand(2, 1, h, w)
    message = f"^pretrain.pirl.grid: expected at most {most} in images of {h} x {w}, for cells of 4 pixels, got {grid}$"
    with pytest.raises(ParamsError, match=message):
        method.loss(Views(images, images, torch.empty(0, 2, 1, h, w), torch.arange(2)))


def test_cells_of_four_pixels_will_do():
    method, _ = made(grid=3)
    assert method.pieces(torch.rand(2, 1, 12, 12)).shape == (2, 9, 1, 3, 3)


@pytest.mark.parametrize(("negatives", "rate"), [(0, 0.1), (16, 0.02)])
def test_training_lowers_the_loss(negatives, rate, tmp_path):
    method, feed = made(num_images=32, batch_size=16, negatives=negatives)
    optim = OPTIM.model_copy(update={"learning_rate": rate})
    device = Device(torch.device("cpu"), bf16=False)
    curve = fit(method, feed, optim, num_steps=20, seed=0, device=device, state=tmp_path, save_seconds=1e9)
    assert curve[-1]["loss"] < curve[0]["loss"] - 0.5
