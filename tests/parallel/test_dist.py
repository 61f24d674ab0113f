"""Two gloo processes against one: the same weights, means, queues and banks from the same global batches."""

import subprocess

import pytest
import torch
from safetensors.torch import load_file

from pipeline.base.errors import ParamsError
from pipeline.nn.norm import SyncBatchNorm, synchronised
from pipeline.parallel import dist
from tests.commands import TORCHRUN
from tests.imports import ROOT
from tests.parallel.two_processes import CASES, RESUMED, gradients, keys_apart, trained

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    command = [*TORCHRUN, "-m", "tests.parallel.two_processes", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=200)
    return folder


@pytest.mark.parametrize("name", list(CASES))
def test_two_processes_end_where_one_does(name, two, tmp_path):
    one, both = trained(name, tmp_path), load_file(two / f"{name}.safetensors")
    assert one.keys() == both.keys()
    for key, tensor in one.items():
        torch.testing.assert_close(both[key], tensor, rtol=1e-6, atol=1e-9, msg=lambda m, key=key: f"{key}: {m}")


@pytest.mark.parametrize("name", RESUMED)
def test_two_processes_that_died_end_in_the_same_bytes(name, two):
    whole, parts = (load_file(two / file) for file in (f"{name}.safetensors", f"{name}, resumed/state.safetensors"))
    assert whole.keys() == parts.keys()
    for key, tensor in whole.items():
        assert torch.equal(parts[key], tensor), key


def test_gradients_are_those_of_the_mean_loss(two):
    both, one = load_file(two / "gradients.safetensors"), gradients()
    torch.testing.assert_close(both["gathered"], one["gathered"])
    torch.testing.assert_close(both["grad"], one["grad"])


def test_processes_exchange_mocos_keys_where_batch_norm_is_each_ones_own(two):
    """As two groups of one process, which are drawn anew too; else keys tell of the images beside them."""
    torch.testing.assert_close(load_file(two / "keys.safetensors"), keys_apart())


def test_a_batch_without_even_parts_is_refused(monkeypatch):
    monkeypatch.setattr(dist, "world", lambda: 2)
    with pytest.raises(ParamsError, match=r"^pretrain.batch_size: expected a multiple of the 2 processes, got 255$"):
        dist.share(255, "pretrain.batch_size")


def test_synchronised_batch_norm_is_batch_norm(monkeypatch):
    """With one process's rows as all rows, outputs, gradients and statistics are torch's own."""
    monkeypatch.setattr(dist, "world", lambda: 2)  # makes the replacement happen
    monkeypatch.setattr(dist, "total", lambda x: 2 * x)  # as if the other rank had the same rows
    torch.manual_seed(0)
    plain = torch.nn.Sequential(torch.nn.BatchNorm2d(3), torch.nn.BatchNorm2d(3, affine=False))
    ours = synchronised(torch.nn.Sequential(torch.nn.BatchNorm2d(3), torch.nn.BatchNorm2d(3, affine=False)), "train")
    assert all(isinstance(module, SyncBatchNorm) for module in ours)
    x = torch.randn(4, 3, 2, 2) * 3 + 1
    twice = torch.cat([x, x]).requires_grad_()
    mine = x.clone().requires_grad_()
    weights = torch.randn(4, 3, 2, 2)
    (plain(twice) * torch.cat([weights, weights])).sum().backward()
    (ours(mine) * weights).sum().backward()
    torch.testing.assert_close(mine.grad, twice.grad[:4], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(ours.state_dict(), plain.state_dict())
    torch.testing.assert_close(ours.eval()(x), plain.eval()(x))
