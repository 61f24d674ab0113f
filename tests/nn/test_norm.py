"""Passes that leave batch norm's running statistics as they are."""

import pytest
import torch
from torch import nn

from pipeline.base.errors import ParamsError
from pipeline.nn.backbones import BACKBONES, fresh
from pipeline.nn.norm import SyncBatchNorm, renew_statistics, statistics_kept, synchronised
from pipeline.parallel import dist
from tests.digits import backbone


@pytest.mark.parametrize("norm", [nn.BatchNorm2d, SyncBatchNorm])
def test_running_statistics_stay_in_the_block_alone(norm):
    net = nn.Sequential(nn.Conv2d(1, 3, 1), norm(3))
    x = torch.randn(4, 1, 5, 5, generator=torch.Generator().manual_seed(0))
    usual = net(x)
    before = net[1].running_mean.clone()
    with statistics_kept(net):
        assert torch.equal(net(x), usual)  # the batch's own statistics still serve
    assert torch.equal(net[1].running_mean, before)
    net(x)
    assert not torch.equal(net[1].running_mean, before)


@pytest.mark.parametrize("norm", [nn.BatchNorm2d, SyncBatchNorm])
def test_renewed_statistics_are_the_mean_of_the_batches_in_any_mode_but_a_frozen_layers(norm):
    """And nothing is left of what they were; dropout is off."""
    net = nn.Sequential(norm(3), nn.Dropout(0.5), norm(3))
    chance = torch.Generator().manual_seed(0)
    batches = [5 + torch.randn(4, 3, 5, 5, generator=chance) for _ in range(3)]
    net(100 * batches[0])
    renew_statistics(net, batches)
    mean, var = (torch.stack([f(x, (0, 2, 3)) for x in batches]).mean(0) for f in (torch.mean, torch.var))
    torch.testing.assert_close(net[0].running_mean, mean)
    torch.testing.assert_close(net[0].running_var, var)
    torch.testing.assert_close(net[2].running_mean, torch.zeros(3), rtol=0, atol=1e-5)
    assert [module.training for module in net] == [False] * 3
    assert net[0].momentum == 0.1


def test_renewed_statistics_leave_those_of_frozen_layers():
    net = backbone()
    net.freeze(0.4)
    x = torch.rand(8, 1, 8, 8)
    before = {name: value.clone() for name, value in net.named_buffers() if name.endswith("running_mean")}
    renew_statistics(net, [x])
    moved = [not torch.equal(value, net.get_buffer(name)) for name, value in before.items()]
    assert moved == sorted(moved)
    assert 0 < sum(moved) < len(moved)


class Active(nn.BatchNorm2d):
    """A norm that does more, as some of timm's do."""

    def forward(self, x):
        return super().forward(x).relu()


def test_a_norm_that_does_more_than_torchs_is_refused(monkeypatch):
    monkeypatch.setattr(dist, "world", lambda: 2)
    message = "^train.sync_bn: expected false for several processes and a backbone with Active, got true$"
    with pytest.raises(ParamsError, match=message):
        synchronised(nn.Sequential(nn.Conv2d(1, 3, 1), Active(3)), "train")


@pytest.mark.parametrize("name", ["small_resnet", "wide_resnet28_2", "vit_tiny"])
def test_outputs_in_eval_mode_do_not_change(name, monkeypatch):
    options = {"width": 16, "stem_stride": 1} if name == "small_resnet" else {}
    options = {"patch_size": 4, "image_size": 8} if name == "vit_tiny" else options
    pixels = torch.randint(0, 256, (4, 1, 8, 8), dtype=torch.uint8)
    net = fresh(name, BACKBONES[name](**options), pixels)
    net(pixels)  # so that running statistics are not those of the start
    before = net.eval()(pixels)
    monkeypatch.setattr(dist, "world", lambda: 2)
    torch.testing.assert_close(synchronised(net, "train")(pixels), before)
