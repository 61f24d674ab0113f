"""Methods that hide patches from a vision transformer: which, and the loss of what is asked about them."""

import math

import pytest
import torch

from pipeline.base.errors import ParamsError
from pipeline.pretrain.methods.mae import waves
from pipeline.pretrain.methods.maskfeat import block_mask, histograms
from tests.digits import self_supervised
from tests.oracles import pretext
from tests.pretrain.family import seeded_loss
from tests.refusals import refusal_of


def cut(x, side):
    """(b, n, c * side * side): the patches row by row, by slicing."""
    places = [(i, j) for i in range(0, x.shape[2], side) for j in range(0, x.shape[3], side)]
    return torch.stack([x[:, :, i : i + side, j : j + side].flatten(1) for i, j in places], dim=1)


def test_maes_loss_is_that_of_its_painting_of_the_patches_that_were_dropped():
    method, feed = self_supervised("mae", channels=3)
    views = feed(0)
    torch.manual_seed(3)
    keep = method.kept(8, 16).tolist()
    x = method.backbone.normalised(views.first)
    small = method.embed(method.backbone.body.tokens(x, keep=torch.tensor(keep)))
    full = torch.stack([method.mask_token] * 16).repeat(8, 1, 1)
    for i, row in enumerate(keep):
        for place, n in enumerate(row, 1):
            full[i, n] = small[i, place]
    painted = method.decoder(torch.cat([small[:, :1], full + waves(4, 4, 16)], dim=1))[:, 1:]
    hidden = [[n not in row for n in range(16)] for row in keep]
    expected = pretext.mae(painted.tolist(), cut(x, 2).tolist(), hidden)
    assert seeded_loss(method, views, 3).loss.item() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(("dropped", "patches", "count"), [(0.75, 16, 4), (0.75, 49, 12), (0.99, 9, 1), (0.01, 9, 8)])
def test_each_image_keeps_patches_of_its_own_and_never_none_or_all(dropped, patches, count):
    method, _ = self_supervised("mae", dropped=dropped)
    torch.manual_seed(0)
    kept = method.kept(64, patches)
    assert kept.shape == (64, count)
    assert all(len(set(row)) == count for row in kept.tolist())
    assert set(kept.flatten().tolist()) == set(range(patches))
    assert len({tuple(sorted(row)) for row in kept.tolist()}) > min(patches, 16) - 4


def test_waves_tell_columns_then_rows():
    found = waves(2, 3, 8)
    for n, (row, column) in enumerate((i, j) for i in range(2) for j in range(3)):
        rates = (1.0, 0.01)
        expected = [wave(place * r) for place in (column, row) for wave in (math.sin, math.cos) for r in rates]
        assert found[n].tolist() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("cell", "h", "w"), [(4, 12, 20), (2, 8, 8), (1, 5, 4)])
def test_histograms_are_those_of_the_loops(cell, h, w):
    x = torch.rand(2, 3, h, w, dtype=torch.double, generator=torch.Generator().manual_seed(0))
    found = histograms(x, cell)
    assert found.shape == (2, 27, h // cell, w // cell)
    for row, column in ((0, 0), (h // cell - 1, w // cell - 1), (h // cell - 1, 1)):
        for c in range(3):
            expected = pretext.histogram(x[1, c].tolist(), row, column, cell)
            assert found[1, 9 * c : 9 * c + 9, row, column].tolist() == pytest.approx(expected, abs=1e-9)


def test_histograms_of_ramps_have_one_direction_and_of_flat_images_none():
    """A direction and its opposite fall into the same bin."""
    ramp = torch.arange(8.0).expand(1, 1, 8, 8) / 8
    inner = [histograms(x, 2)[0, :, 1, 1] for x in (ramp, ramp.mT, ramp + ramp.mT, 1 - ramp - ramp.mT)]
    assert all(sorted(bins.tolist()) == [0.0] * 8 + [pytest.approx(1.0)] for bins in inner)
    assert len({int(bins.argmax()) for bins in inner[:3]}) == 3
    torch.testing.assert_close(inner[2], inner[3])
    assert not histograms(torch.full((1, 1, 8, 8), 0.3), 2).any()


@pytest.mark.parametrize(
    ("rows", "columns", "count", "least"), [(14, 14, 78, 15), (7, 7, 20, 4), (4, 4, 6, 9), (1, 9, 3, 1)]
)
def test_blocks_mask_as_many_patches_as_they_are_asked_for(rows, columns, count, least):
    torch.manual_seed(0)
    masked = block_mask(64, rows, columns, count, least)
    assert masked.shape == (64, rows * columns)
    assert masked.sum(dim=1).tolist() == [count] * 64
    assert len({tuple(row) for row in masked.tolist()}) > min(8, columns) - 4
    assert masked.any(dim=0).all()


def test_masked_patches_lie_together():
    """In blocks far more neighbours are masked alike than in masks of single patches."""
    torch.manual_seed(0)
    blocks = block_mask(200, 14, 14, 78, 15).unflatten(1, (14, 14))
    single = torch.rand(200, 196).argsort(dim=1).lt(78).unflatten(1, (14, 14))
    alike = [(mask[:, :, 1:] == mask[:, :, :-1]).float().mean().item() for mask in (blocks, single)]
    assert alike[0] > 0.8
    assert alike[1] < 0.6


def test_maskfeats_loss_is_that_of_the_histograms_of_masked_patches():
    method, feed = self_supervised("maskfeat", channels=3, cell=1)
    views = feed(0)
    torch.manual_seed(3)
    masked = block_mask(8, 4, 4, 6, 3)
    x = method.backbone.normalised(views.first)
    tokens = method.backbone.body.tokens(x, masked=masked, mask_token=method.mask_token)
    targets = cut(histograms(views.first, 1), 2)
    expected = pretext.hidden_error(method.head(tokens[:, 1:]).tolist(), targets.tolist(), masked.tolist())
    assert seeded_loss(method, views, 3).loss.item() == pytest.approx(expected, rel=1e-4)


def test_cells_that_do_not_divide_patches_are_refused():
    said = refusal_of(lambda: self_supervised("maskfeat", cell=4), kind=ParamsError)
    assert said == "pretrain.maskfeat.cell: expected a divisor of the patches' 2 pixels, got 4"
