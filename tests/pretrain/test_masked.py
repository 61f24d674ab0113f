"""Methods that hide patches from a vision transformer: which, and the loss of what is asked about them."""

import math

import pytest
import torch

from pipeline.base.errors import ParamsError
from pipeline.pretrain.methods import METHODS
from pipeline.pretrain.methods.mae import waves
from tests.digits import MASKED, PARAMS, backbone, self_supervised
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


@pytest.mark.parametrize("name", sorted(MASKED))
def test_other_backbones_are_refused(name):
    method = METHODS[name]
    said = refusal_of(method, backbone(), method.Params(**PARAMS[name]), 9, torch.Generator(), kind=ParamsError)
    says = "expected vit_tiny, vit_small or vit_base for a method that masks patches, got small_resnet"
    assert said == f"pretrain.backbone: {says}"
