"""Lightness and colours: Lab in loops, the loss at each place of a map, who sees what, and bins that stay."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from pipeline.base.errors import ParamsError
from pipeline.nn.lab import lab
from pipeline.nn.split_resnet import SplitResNet
from pipeline.pretrain.colorization import Colorization, ColorizationParams
from pipeline.pretrain.colours import colour_bins, colour_centres
from pipeline.pretrain.methods.split_brain import SplitBrain, SplitBrainParams
from tests.digits import backbone, self_supervised, split
from tests.refusals import refusal_of


def lab_of(pixel):
    """CIE 15 and IEC 61966-2-1, a number at a time."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in pixel]
    rows = ((0.4124, 0.3576, 0.1805), (0.2126, 0.7152, 0.0722), (0.0193, 0.1192, 0.9505))
    xyz = [sum(m * c for m, c in zip(row, linear, strict=True)) for row in rows]
    shares = [value / white for value, white in zip(xyz, (0.9505, 1.0, 1.089), strict=True)]
    x, y, z = (s ** (1 / 3) if s > (6 / 29) ** 3 else s / (3 * (6 / 29) ** 2) + 4 / 29 for s in shares)
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


def test_lab_is_that_of_a_pixel_alone_and_of_known_colours():
    pixels = np.random.default_rng(0).uniform(0, 1, (60, 3)) ** 3  # many dark ones
    found = lab(torch.from_numpy(pixels).float().T.reshape(1, 3, 6, 10))[0].flatten(1).T
    np.testing.assert_allclose(found.numpy(), [lab_of(pixel) for pixel in pixels.tolist()], atol=2e-3)
    known = {(1, 1, 1): (100, 0, 0), (1, 0, 0): (53.24, 80.09, 67.20), (0, 0, 1): (32.30, 79.19, -107.86)}
    for colour, expected in known.items():
        of = lab(torch.tensor(colour).float().reshape(1, 3, 1, 1)).flatten()
        assert of.tolist() == pytest.approx(expected, abs=0.05)


def test_black_has_a_gradient():
    image = torch.zeros(1, 3, 2, 2, requires_grad=True)
    lab(image).sum().backward()
    assert image.grad.isfinite().all()


@pytest.mark.parametrize(("sees", "expected"), [("both", math.log(6) + math.log(5)), ("lightness", math.log(6))])
def test_equal_logits_are_worth_the_logarithm_of_the_bins(sees, expected):
    method = SplitBrain(split(sees=sees), SplitBrainParams(colour_bins=6, lightness_bins=5), 50, torch.Generator())
    for guess in method.guess.values():
        torch.nn.init.zeros_(guess.weight)
        torch.nn.init.constant_(guess.bias, 3.0)
    step = method.loss(self_supervised("split_brain")[1](0))
    assert step.loss.item() == pytest.approx(expected, rel=1e-5)
    assert {*step.logs} == {"feature_std", "from_lightness", *(["from_colours"] if sees == "both" else [])}


def test_neither_network_sees_what_it_must_guess():
    """Images of the same lightness have the same features of one network, of the same colours those of the other."""
    body = split().body.eval()
    x = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
    light, colours = x.clone(), x.clone()
    light[:, 0], colours[:, 1:] = light[:, 0].flip(0), colours[:, 1:].flip(0)
    half = body(x).shape[1] // 2
    assert torch.equal(body(colours)[:, :half], body(x)[:, :half])
    assert torch.equal(body(light)[:, half:], body(x)[:, half:])
    assert not torch.allclose(body(colours)[:, half:], body(x)[:, half:], atol=1e-3)
    assert not torch.allclose(body(light)[:, :half], body(x)[:, :half], atol=1e-3)


def test_centres_are_found_once_and_lie_where_colours_do():
    heaps = torch.tensor([[0.0, 0.0], [40.0, -20.0], [-30.0, 50.0]]).repeat_interleave(100, 0)
    heaps = heaps + torch.randn(300, 2, generator=torch.Generator().manual_seed(0))
    centres = colour_centres(heaps, 3, seed=0)
    bins = colour_bins(heaps.T.reshape(1, 2, 3, 100), centres)[0]
    assert all(len(set(row)) == 1 for row in bins.tolist())
    assert len({row[0] for row in bins.tolist()}) == 3
    method, feed = self_supervised("split_brain")
    assert method.colours.centres.isnan().all()
    method.loss(feed(0))
    found = method.colours.centres.clone()
    method.loss(feed(1))
    assert torch.equal(method.colours.centres, found)
    other, _ = self_supervised("split_brain")
    other.load_state_dict(method.state_dict())
    other.loss(feed(2))
    assert torch.equal(other.colours.centres, found)


def test_colorization_guesses_the_bin_of_each_place_from_the_lightness_alone():
    net, (_, feed) = backbone(channels=3), self_supervised("byol", channels=3)
    task = Colorization(net, ColorizationParams(colour_bins=6), 50, torch.Generator()).eval()
    views = feed(0)
    found = task.loss(views).loss.item()
    planes, centres = lab(views.first), task.colours.centres.tolist()
    grey = planes[:, :1].repeat(1, 3, 1, 1) / 100
    logits = task.guess(net.body[:-2](net.normalised(grey)))
    terms = []
    for i, row, column in itertools.product(range(8), range(2), range(2)):  # maps of 2 x 2 places, of 4 x 4 pixels
        cell = planes[i, 1:, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4]
        colour = cell.flatten(1).mean(dim=1).tolist()
        far = [math.dist(colour, centre) for centre in centres]
        terms.append(-logits[i, :, row, column].log_softmax(0)[far.index(min(far))].item())
    assert found == pytest.approx(sum(terms) / 32, rel=1e-5)
    assert len({tuple(centre) for centre in centres}) == 6


def test_what_it_refuses():
    with pytest.raises(ParamsError, match=r"split_resnet: expected images of 3 channels \(ingest.mode: rgb\), got 1"):
        SplitResNet(width=32, stem_stride=1, sees="both").build(1)
    method, feed = self_supervised("split_brain", colour_bins=100)
    says = refusal_of(method.loss, feed(0), kind=ParamsError)
    assert says == "pretrain.split_brain.colour_bins: expected at most 32, the places of the maps of a batch, got 100"
    method, feed = self_supervised("split_brain")
    views = feed(0)
    grey = replace(views, first=views.first[:, :1].expand(-1, 3, -1, -1))
    assert lab(grey.first)[:, 1:].unique().numel() > 6  # colours by rounding
    says = refusal_of(method.loss, grey, kind=ParamsError)
    assert says.startswith(
        "pretrain.split_brain.colour_bins: expected pictures with colours, got a first batch in grey;"
    )
    given = backbone(), ColorizationParams(colour_bins=6), 50, torch.Generator()
    says = refusal_of(Colorization, *given, kind=ParamsError)
    assert says == (
        "pretrain.multi_task.colorization: expected 0 without images of 3 channels (ingest.mode: rgb), got images of 1"
    )
