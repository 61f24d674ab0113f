"""Passes that leave batch norm's running statistics as they are."""

import pytest
import torch
from torch import nn

from pipeline.nn.norm import SyncBatchNorm, statistics_kept


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
