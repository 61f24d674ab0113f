"""Passes of less cost compute what they computed before."""

import copy
import subprocess
import sys

import pytest
import torch

from pipeline.base.errors import ParamsError
from pipeline.nn.backbones import BACKBONES, fresh
from pipeline.nn.compute import reduce_cost
from tests.imports import ROOT

KINDS = {
    "small_resnet": {"width": 16, "stem_stride": 1},
    "wide_resnet10_1": {},
    "resnet18": {"small_stem": True},
    "resnet50": {"small_stem": False},
    "split_resnet": {"width": 32, "stem_stride": 1, "sees": "both"},
    "vit_tiny": {"patch_size": 8, "image_size": 32},
}


def passed(net, images):
    """Features, gradients, and how many bytes of activations wait for the backward pass."""
    held = {}

    def hold(tensor):
        if not isinstance(tensor, torch.nn.Parameter):
            held[tensor.data_ptr()] = tensor.nbytes
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(hold, lambda tensor: tensor):
        out = net(images)
    out.square().mean().backward()
    return out.detach(), [p.grad for p in net.parameters()], sum(held.values())


@pytest.mark.parametrize("name", KINDS)
def test_recomputed_activations_give_the_same_gradients_and_statistics_from_less_memory(name):
    torch.manual_seed(0)
    pixels = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8)
    plain = fresh(name, BACKBONES[name](**KINDS[name]), pixels).train()
    lean = copy.deepcopy(plain)
    reduce_cost(lean, compiled=False, recompute=True)
    again = copy.deepcopy(lean)
    out, grads, held = passed(plain, pixels)
    for net in (lean, again):
        same, others, less = passed(net, pixels)
        torch.testing.assert_close(same, out)
        torch.testing.assert_close(others, grads)
        assert less < 0.6 * held
        assert list(net.state_dict()) == list(plain.state_dict())
        torch.testing.assert_close(net.state_dict(), plain.state_dict())
    assert again.body is not lean.body
    assert all(p.grad is not q.grad for p, q in zip(lean.parameters(), again.parameters(), strict=True))


GRAPHS = """
import copy, torch
from torch._dynamo.utils import counters
from pipeline.nn import compute
from pipeline.nn.backbones import BACKBONES, fresh
compute.BACKEND = "eager"  # graphs are counted; what another back end makes of them takes half a minute
pixels = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8)
for name, options in {"small_resnet": {"width": 16, "stem_stride": 1}, "resnet18": {"small_stem": True}}.items():
    net = fresh(name, BACKBONES[name](**options), pixels).train()
    plain = copy.deepcopy(net)
    compute.reduce_cost(net, compiled=True, recompute=False)
    counters.clear()
    torch.testing.assert_close(net(pixels), plain(pixels))
    assert list(net.state_dict()) == list(plain.state_dict())
    print(name, counters["stats"]["unique_graphs"], len(counters["graph_break"]))
net = fresh("vit_tiny", BACKBONES["vit_tiny"](patch_size=16, image_size=32), pixels).train()
plain, keep = copy.deepcopy(net), torch.tensor([[2, 0]] * 4)
compute.reduce_cost(net, compiled=True, recompute=False)
counters.clear()
found, expected = (each.transformer().tokens(each.normalised(pixels), keep=keep) for each in (net, plain))
torch.testing.assert_close(found, expected)
assert list(net.state_dict()) == list(plain.state_dict())
print("tokens", counters["stats"]["unique_graphs"], len(counters["graph_break"]))
"""


@pytest.mark.slow
def test_compiled_backbones_are_one_graph():
    """In a process of its own: the tests' checks of shapes would cut graphs."""
    result = subprocess.run([sys.executable, "-c", GRAPHS], cwd=ROOT, capture_output=True, text=True, timeout=180)
    assert result.stdout == "small_resnet 1 0\nresnet18 1 0\ntokens 1 0\n", result.stderr


def test_what_would_do_nothing_or_fail_is_refused():
    pixels = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8)
    net = fresh("small_resnet", BACKBONES["small_resnet"](**KINDS["small_resnet"]), pixels)
    with pytest.raises(ParamsError, match=r"^machine.compile: expected false with recompute, got both: "):
        reduce_cost(net, compiled=True, recompute=True)
    net.body = torch.nn.Flatten()
    with pytest.raises(
        ParamsError, match=r"^machine.recompute: expected a backbone of blocks in sequence, got small_resnet$"
    ):
        reduce_cost(net, compiled=False, recompute=True)
