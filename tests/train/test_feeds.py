"""What the methods are fed with under several processes: each has its part of the batch that one would have."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from pipeline.base.errors import ParamsError
from pipeline.parallel import dist
from pipeline.train.batch import SemiFeed
from pipeline.views.chance import UNIT, Chance
from tests.digits import semi, task
from tests.method_values import STRONG, WEAK
from tests.train.helpers import IMAGES


def plain(batch_size=8, **changes):
    return SemiFeed(IMAGES, task(batch_size, **changes).finest(), ratio=3, views=(WEAK, STRONG))


def paws(**changes):
    return semi("paws", **{"per_class": 3, "classes": 4, **changes})[1]


def halves(monkeypatch, make, step):
    """The batches of two processes."""
    monkeypatch.setattr(dist, "world", lambda: 2)
    found = []
    for rank in range(2):
        monkeypatch.setattr(dist, "rank", lambda rank=rank: rank)
        found.append(make()(step))
    return found


def test_labelled_and_unlabelled_images_draw_from_one_stream():
    parts, whole = Chance(3), Chance(3)
    for part, rest, ranges in ((slice(2), 4, [UNIT]), (slice(3, 6), 6, [UNIT, (2, 5)]), (slice(None), 5, [UNIT])):
        drawn = whole.uniform(rest, *ranges)[part]
        np.testing.assert_array_equal(parts.over(rest, part).uniform(len(drawn), *ranges), drawn)


@pytest.mark.parametrize("sampling", ["images", "classes"])
def test_a_batch_is_a_function_of_seed_and_step(sampling):
    def made(seed):
        return SemiFeed(IMAGES, replace(task(sampling=sampling), seed=seed), ratio=3, views=(WEAK, STRONG))

    one, other = made(0), made(0)
    batch, again = one(5), (other(2), other(5))[1]
    for different in (one(6), made(1)(5)):
        for name in ("label", "rows", "labelled"):
            assert torch.equal(getattr(batch, name), getattr(again, name))
            assert not torch.equal(getattr(batch, name), getattr(different, name))
        assert all(torch.equal(a, b) for a, b in zip(batch.views, again.views, strict=True))
        assert not any(torch.equal(a, b) for a, b in zip(batch.views, different.views, strict=True))


@pytest.mark.parametrize("sampling", ["images", "classes"])
def test_two_processes_have_the_batch_of_one(sampling, monkeypatch):
    whole = plain(sampling=sampling)(5)
    one, two = halves(monkeypatch, lambda: plain(sampling=sampling), 5)
    assert (len(one.labelled), len(one.rows), one.num_images) == (4, 12, 28)
    for name in ("labelled", "label", "rows"):
        torch.testing.assert_close(torch.cat([getattr(one, name), getattr(two, name)]), getattr(whole, name))
    for first, second, both in zip(one.views, two.views, whole.views, strict=True):
        torch.testing.assert_close(torch.cat([first, second]), both)


def test_two_processes_have_the_supports_of_one(monkeypatch):
    whole = paws()(2)
    one, two = halves(monkeypatch, paws, 2)
    assert torch.equal(one.classes, whole.classes)
    assert torch.equal(two.classes, whole.classes)
    assert len(one.labelled) == len(two.labelled) == len(whole.labelled) // 2 == 12
    for name in ("labelled", "place", "label"):
        parts = [getattr(batch, name).chunk(2) for batch in (one, two)]  # both views of each
        torch.testing.assert_close(torch.cat([half[i] for i in range(2) for half in parts]), getattr(whole, name))
    for first, second, both in zip(one.views, two.views, whole.views, strict=True):
        torch.testing.assert_close(torch.cat([first, second]), both)
    torch.testing.assert_close(torch.cat([one.local, two.local], dim=1), whole.local)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: plain(7), "train.batch_size: expected a multiple of the 2 processes, got 7"),
        (
            lambda: plain(2, sync_bn=False),
            "train.batch_size: expected two labelled images for each of 2 processes without sync_bn, got 2",
        ),
        (
            lambda: paws(classes=3),
            "train.paws.per_class times the classes of a batch: expected a multiple of the 2 processes, got 9",
        ),
        (
            lambda: paws(num_unlabelled=5),
            "train.paws.num_unlabelled: expected a multiple of the 2 processes, got 5",
        ),
    ],
)
def test_batches_without_even_parts_are_refused(make, message, monkeypatch):
    make()
    monkeypatch.setattr(dist, "world", lambda: 2)
    with pytest.raises(ParamsError) as error:
        make()
    assert str(error.value) == message
