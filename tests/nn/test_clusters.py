"""Clusters of an epoch: spherical k-means, when it is due, and what is remembered."""

import pytest
import torch
import torch.nn.functional as F

from pipeline.base.errors import ParamsError
from pipeline.nn import clusters as module
from pipeline.nn.clusters import Clusters, spherical_kmeans
from pipeline.nn.memory import epoch_ends
from tests.pretrain.family import on_two_ranks, unit
from tests.refusals import refusal_of


def clouds(n=30, k=3, spread=0.05):
    """Unit vectors near the first k axes of six, and which."""
    which = torch.arange(n) % k
    return F.normalize(torch.eye(6)[which] + spread * unit(n, 6, seed=0), dim=1), which


def test_kmeans_finds_clouds_and_says_how_near_each_row_is():
    x, which = clouds()
    torch.manual_seed(1)
    labels, cos, centroids = spherical_kmeans(x, 3, 10)
    assert all(len(labels[which == i].unique()) == 1 for i in range(3))
    assert len(labels.unique()) == 3
    for i in range(3):
        torch.testing.assert_close(centroids[labels[which == i][0]], F.normalize(x[which == i].mean(0), dim=0))
    torch.testing.assert_close(cos, (x * centroids[labels]).sum(1))


@pytest.mark.parametrize("k", [2, 7, 40])
def test_each_iteration_brings_rows_nearer_to_their_centroids(k):
    x, means = unit(40, 5, seed=0), []
    for iterations in (0, 1, 3, 30):
        torch.manual_seed(0)
        means.append(spherical_kmeans(x, k, iterations)[1].mean().item())
    assert means == sorted(means)
    assert means[-1] > means[0] or k == 40
    if k == 40:  # each row is a cluster
        assert means[0] == pytest.approx(1)


def test_a_centroid_without_members_stays():
    x = torch.eye(4)[[0, 0, 0, 1]]
    for seed in range(5):  # two of three first centroids are equal: all rows go to the first of them
        torch.manual_seed(seed)
        _, cos, centroids = spherical_kmeans(x, 4, 5)
        torch.testing.assert_close(cos, torch.ones(4))
        torch.testing.assert_close(centroids.norm(dim=1), torch.ones(4))


def test_large_sets_are_learnt_from_a_sample_and_assigned_in_blocks(monkeypatch):
    x, which = clouds(n=300)
    monkeypatch.setattr(module, "SAMPLE", 20)
    monkeypatch.setattr(module, "BLOCK_NUMBERS", 21)
    torch.manual_seed(1)
    labels, cos, centroids = spherical_kmeans(x, 3, 10)
    assert len({(int(a), int(b)) for a, b in zip(labels, which, strict=True)}) == 3
    assert torch.equal(labels, (x @ centroids.T).argmax(1))
    torch.testing.assert_close(cos, (x @ centroids.T).amax(1))


@pytest.mark.parametrize(("images", "batch", "expected"), [(10, 5, [2, 4]), (10, 4, [3, 5]), (5, 12, [1, 2, 3, 4, 5])])
def test_an_epoch_ends_when_all_images_were_seen_once_more(images, batch, expected):
    assert [step for step in range(1, 6) if epoch_ends(step, batch, images)] == expected


def test_clusterings_are_kept_side_by_side():
    x, _ = clouds()
    clusters = Clusters(30, 6, [3, 6], 10, "", torch.Generator())
    assert (clusters.labels == -1).all()
    torch.manual_seed(1)
    clusters.find(x)
    torch.manual_seed(1)
    for place, k in enumerate((3, 6)):
        labels, cos, _ = spherical_kmeans(x, k, 10)
        assert torch.equal(clusters.labels[place], labels)
        nearer = (cos > cos[:, None]).sum(1)  # no two are equal
        torch.testing.assert_close(clusters.doubt[place], nearer / 30)
    assert set(clusters.state_dict()) == {"labels", "doubt", "bank.rows", "bank.seen"}


def test_all_processes_have_the_first_ones_clusters(monkeypatch):
    both, rows = (
        [Clusters(20, 4, [3], 5, "", torch.Generator()) for _ in range(2)],
        [unit(20, 4, seed=seed) for seed in range(2)],
    )
    on_two_ranks(lambda rank: both[rank].find(rows[rank]), monkeypatch)
    torch.testing.assert_close(both[1].state_dict(), both[0].state_dict(), rtol=0, atol=0)


def test_more_clusters_than_images_are_refused():
    says = "pretrain.ncc.clusters: expected at most 5, the training images, got 6 in the last of 2 clusterings"
    assert refusal_of(Clusters, 5, 2, [3, 6], 1, "pretrain.ncc.clusters", torch.Generator(), kind=ParamsError) == says
