"""Passes without gradient: their memory is bounded by images a pass, whatever the network and the size of images."""

import subprocess
import sys

import pytest
import torch

from pipeline.artifacts.model import Weights
from pipeline.base.torchvision_import import torchvision
from pipeline.nn.arrays import to_arrays
from pipeline.nn.backbones import BACKBONES, Backbone
from pipeline.nn.pass_size import images_a_pass

torchvision()  # here, so that no single test waits for its import
EMBED = """
import sys, torch
from pathlib import Path
from pipeline.embed.run import embed
from pipeline.nn.classifier import read_backbone
from pipeline.nn.device import Device
from pipeline.nn.pass_size import images_a_pass

def peak():
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1]) / 1e3

net = read_backbone(Path(sys.argv[1])).eval()
side = int(sys.argv[2])
pixels = torch.randint(0, 256, (200, 3, side, side), dtype=torch.uint8)
batch_size = images_a_pass(net, (3, side, side), 500)
before = peak()
embed(net, pixels, batch_size, Device(torch.device("cpu"), bf16=False))
print(batch_size, peak() - before)
"""


def network(name, **options):
    torch.manual_seed(0)
    return Backbone(name, BACKBONES[name](**options), torch.full((3,), 0.5), torch.ones(3))


@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells the peak")
def test_large_images_take_little_memory(tmp_path):
    """All 200 in one pass take 0.6 GB."""
    pytest.importorskip("timm")
    net = network("timm", model="mobilenetv3_small_050")
    Weights(to_arrays(net), {"backbone": net.about}).write(tmp_path, "backbone")
    command = [sys.executable, "-c", EMBED, str(tmp_path), "224"]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    assert int(told[0]) == 111
    assert float(told[1]) < 500


@pytest.mark.parametrize(
    ("name", "options", "side", "most", "wanted"),
    [
        ("small_resnet", {"width": 32, "stem_stride": 1}, 8, 1000, 1000),  # digits: as many as asked for
        ("small_resnet", {"width": 32, "stem_stride": 1}, 28, 500, 500),  # Fashion-MNIST
        ("small_resnet", {"width": 32, "stem_stride": 1}, 128, 500, 2**29 // (6 * 4 * 32 * 128**2)),
        ("vit_tiny", {"patch_size": 16, "image_size": 224}, 224, 500, 2**29 // (6 * 4 * 197 * 4 * 192)),
    ],
)
def test_as_many_as_fit(name, options, side, most, wanted):
    net = network(name, **options)
    before = {n: t.clone() for n, t in net.state_dict().items()}
    assert images_a_pass(net, (3, side, side), most) == wanted
    assert net.training
    assert all(torch.equal(t, before[n]) for n, t in net.state_dict().items())  # batch norm saw nothing
