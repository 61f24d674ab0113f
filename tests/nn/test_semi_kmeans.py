"""k-means with known classes: what it ends in, where it starts, how many clusters it takes; which cluster is which."""

from itertools import permutations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from pipeline.nn import semi_kmeans as module
from pipeline.nn.semi_kmeans import estimated_classes, numbered, semi_kmeans
from pipeline.vectors.matching import matched
from tests.oracles import gcd as oracle


def chance(seed=0):
    return torch.Generator().manual_seed(seed)


def clouds(classes, each=20, spread=0.15, seed=0):
    """Unit vectors near as many axes of twelve, and which."""
    which = torch.arange(classes).repeat_interleave(each)
    noise = torch.randn(len(which), 12, generator=chance(seed))
    return F.normalize(torch.eye(12)[which] + spread * noise, dim=1), which


def some(which, classes, each):
    """The first `each` of each of the first classes are known."""
    known = torch.full_like(which, -1)
    for c in range(classes):
        known[(which == c).nonzero()[:each, 0]] = c
    return known


@pytest.mark.parametrize("k", [3, 5, 9])
def test_it_ends_where_known_rows_stay_and_others_are_nearest_to_their_own(k):
    x = F.normalize(torch.randn(40, 4, generator=chance()), dim=1)
    known = torch.full((40,), -1)
    known[:6] = torch.tensor([0, 0, 1, 1, 2, 2])
    labels = semi_kmeans(x, known, k, chance()).labels
    assert oracle.settled(x.tolist(), known.tolist(), labels.tolist(), k)
    assert not oracle.settled(x.tolist(), known.tolist(), labels.roll(1).tolist(), k)


def test_clouds_without_a_class_become_clusters_of_their_own():
    x, which = clouds(6)
    labels = semi_kmeans(x, some(which, 4, 2), 6, chance()).labels
    assert torch.equal(labels[which < 4], which[which < 4])
    assert sorted(labels[which >= 4].unique_consecutive().tolist()) == [4, 5]


def test_without_a_class_it_is_kmeans_and_with_all_of_them_they_stay():
    x, which = clouds(5)
    labels = semi_kmeans(x, torch.full_like(which, -1), 5, chance()).labels
    assert matched(which.numpy(), labels.numpy()).all()
    wrong = which.roll(7)
    assert torch.equal(semi_kmeans(x, wrong, 5, chance()).labels, wrong)
    assert torch.equal(semi_kmeans(x, wrong, 7, chance()).labels, wrong)


def test_the_tightest_of_several_starts_counts(monkeypatch):
    x, which = clouds(12, each=8, spread=0.4)
    none, found = torch.full_like(which, -1), []
    for restarts in (1, 3, 20):
        monkeypatch.setattr(module, "RESTARTS", restarts)
        found.append(semi_kmeans(x, none, 12, chance()).cosine)
    assert found == sorted(found)
    assert found[2] > found[0]


def test_new_clusters_are_numbered_by_size_and_none_is_empty():
    labels = torch.tensor([0, 1, 4, 4, 4, 2, 2, 0, 5])
    assert numbered(labels, 2).tolist() == [0, 1, 2, 2, 2, 3, 3, 0, 4]
    assert numbered(torch.tensor([0, 0, 2, 2]), 3).tolist() == [0, 0, 2, 2]  # a known class keeps its number


@pytest.mark.parametrize("classes", [5, 6, 7])
def test_the_number_of_classes_is_told_from_those_that_are_known(classes):
    x, which = clouds(classes)
    """To one more or less, as known classes are found as well where two others are one cluster."""
    assert abs(estimated_classes(x, some(which, 4, 5), chance()) - classes) <= 1


def test_of_one_class_or_few_rows_a_number_comes_out():
    x, which = clouds(3, each=2)
    assert 1 <= estimated_classes(x, some(which, 1, 1), chance()) <= 3
    assert estimated_classes(x, which, chance()) in range(3, 7)


def test_clusters_are_matched_as_the_best_of_all_assignments():
    for seed in range(20):
        draw = np.random.default_rng(seed)
        answers, clusters = draw.integers(0, 4, 30), draw.integers(0, 5, 30)
        best = max(sum(np.array(p)[clusters] == answers) for p in permutations(range(5)))
        assert matched(answers, clusters).sum() == matched(clusters, answers).sum() == best
    assert matched(np.array([1, 1, 0]), np.array([0, 0, 0])).tolist() == [True, True, False]
