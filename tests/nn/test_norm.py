"""Passes that leave batch norm's running statistics as they are."""

import pytest
import torch
from torch import nn

from pipeline.base.errors import ParamsError
from pipeline.nn.backbones import BACKBONES, fresh
from pipeline.nn.norm import SyncBatchNorm, statistics_kept, synchronised
from pipeline.parallel import dist


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
