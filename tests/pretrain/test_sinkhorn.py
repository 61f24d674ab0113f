"""Sinkhorn's codes against the loops, at their limits, and where plain exponentials fail."""

import pytest
import torch

from pipeline.base.torchvision_import import torchvision
from pipeline.pretrain.sinkhorn import sinkhorn
from tests.oracles import swav


def scores(n, k, seed=0):
    return torch.rand(n, k, generator=torch.Generator().manual_seed(seed)) * 2 - 1


@pytest.mark.parametrize("iterations", [1, 2, 3, 8])
@pytest.mark.parametrize("shape", [(6, 4), (3, 7), (1, 3), (5, 1)])
def test_codes_are_the_papers(iterations, shape):
    s = scores(*shape)
    expected = torch.tensor(swav.codes(s.tolist(), 0.05, iterations))
    torch.testing.assert_close(sinkhorn(s, 0.05, iterations), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("iterations", [1, 3])
def test_codes_are_those_of_lightly(iterations):
    torchvision()
    peer = pytest.importorskip("lightly.loss.swav_loss")
    s = scores(12, 5)
    torch.testing.assert_close(sinkhorn(s, 0.05, iterations), peer.sinkhorn(s, iterations, 0.05), rtol=1e-4, atol=1e-6)


def test_rows_sum_to_one_and_columns_become_equal():
    s = scores(12, 5)
    for iterations in (1, 3, 200):
        torch.testing.assert_close(sinkhorn(s, 0.05, iterations).sum(dim=1), torch.ones(12))
    torch.testing.assert_close(sinkhorn(s, 0.05, 200).sum(dim=0), torch.full((5,), 12 / 5), rtol=1e-3, atol=0)
    assert sinkhorn(s, 0.05, 1).sum(dim=0).std() > 0.1  # so the limit above is no matter of course


@pytest.mark.parametrize("iterations", [1, 3])
def test_equal_scores_give_even_codes(iterations):
    torch.testing.assert_close(sinkhorn(torch.full((4, 8), 0.3), 0.05, iterations), torch.full((4, 8), 1 / 8))


def test_each_sample_with_a_prototype_of_its_own_keeps_it():
    s = -1 + 2 * torch.eye(5)[[3, 1, 4, 0, 2]]
    torch.testing.assert_close(sinkhorn(s, 0.05, 3), torch.eye(5)[[3, 1, 4, 0, 2]])


def test_what_all_samples_give_a_prototype_changes_nothing():
    """Popularity is what the balance takes away, in the first round and however large."""
    s = scores(9, 4).double()
    torch.testing.assert_close(sinkhorn(s + torch.tensor([0.0, 1e3, -1e3, 7.0]), 0.05, 3), sinkhorn(s, 0.05, 3))


@pytest.mark.parametrize("factor", [1e4, 1e30])
@pytest.mark.parametrize("iterations", [1, 3, 50])
def test_large_scores_give_numbers(factor, iterations):
    s = scores(16, 30)
    assert s.dtype == torch.float32
    for codes in (sinkhorn(s * factor, 0.05, iterations), sinkhorn(s, 0.05 / factor, iterations)):
        assert codes.isfinite().all()
        torch.testing.assert_close(codes.sum(dim=1), torch.ones(16))


def test_a_sample_far_from_all_prototypes_is_no_division_by_zero():
    s = torch.tensor([[100.0, 99.9], [-100.0, -100.1], [0.0, 0.1]])
    expected = sinkhorn(s.double(), 0.05, 3).float()
    codes = sinkhorn(s, 0.05, 3)
    assert codes.isfinite().all()
    torch.testing.assert_close(codes, expected, rtol=1e-3, atol=1e-4)
    assert (s / 0.05 - 2000).exp()[1].sum() == 0  # what taking the largest away before exp would leave of that row


def test_bf16_is_computed_in_float32_and_float64_stays():
    s = scores(8, 6).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        codes = sinkhorn(s, 0.05, 3)
    assert codes.dtype == torch.float32
    assert torch.equal(codes, sinkhorn(s.float(), 0.05, 3))
    assert sinkhorn(s.double(), 0.05, 3).dtype == torch.float64


def test_no_gradient_passes_and_the_scores_stay():
    s = scores(8, 6).requires_grad_()
    before = s.detach().clone()
    assert not sinkhorn(s, 0.05, 3).requires_grad
    assert torch.equal(s, before)
