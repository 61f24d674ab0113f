"""MSF and CMSF: their queues, what CMSF remembers, and what they refuse."""

import pytest
import torch
import torch.nn.functional as F

from pipeline.base.errors import ParamsError
from pipeline.pretrain.feed import Views
from tests.digits import self_supervised
from tests.oracles import msf as oracle


def cmsf(**changes):
    return self_supervised("cmsf", num_images=24, queue_size=30, **changes)


def embeddings(method, views):
    return F.normalize(method.teacher(views.second)[1].detach(), dim=1)


def test_the_method_remembers_what_it_says():
    """Against lists: each image's last embedding, and for each row of the queue the one before it.

    The first batch comes twice, while most of the queue is random and has no earlier embeddings.
    """
    method, feed = cmsf(constrained=12)
    last, queue, before = {}, method.queue.rows.tolist(), [None] * 24
    counts = set()
    for step, batch in enumerate((0, 0, 1, 2, 3, 4, 5)):
        views = feed(batch)
        u = embeddings(method, views).tolist()
        w = [last.get(row) for row in views.rows.tolist()]
        counts.add(sum(row is not None for row in w))
        queue, before = oracle.push(queue, u), oracle.push(before, w)
        v = method.predictor(method.student(views.first)[1]).tolist()
        expected = oracle.cmsf(v, u, w, queue, before, 3, 12)
        assert method.loss(views).loss.item() == pytest.approx(expected, rel=1e-4)
        method.after_step(step + 1, 10)
        last |= dict(zip(views.rows.tolist(), u, strict=True))
    assert {0, 8} <= counts
    assert method.bank.seen.all()
    torch.testing.assert_close(method.bank.rows, torch.tensor([last[row] for row in range(24)]))


def test_an_image_that_stands_twice_in_a_batch_keeps_its_last_embedding():
    method, feed = cmsf()
    views = feed(0)
    twice = Views(views.first, views.second, views.local, torch.tensor([5, 1, 2, 3, 5, 6, 7, 8]))
    u = embeddings(method, twice)
    method.loss(twice)
    method.after_step(1, 10)
    torch.testing.assert_close(method.bank.rows[5], u[4])
    assert int(method.bank.seen.sum()) == 7


@pytest.mark.parametrize(("name", "field"), [("msf", "neighbours"), ("cmsf", "neighbours"), ("cmsf", "constrained")])
def test_more_neighbours_than_the_queue_has_rows_are_refused(name, field):
    self_supervised(name, num_images=7, **{field: 7})
    message = f"^pretrain.{name}.{field}: expected at most 7, queue_size cut to the images, got 8$"
    with pytest.raises(ParamsError, match=message):
        self_supervised(name, num_images=7, **{field: 8})
