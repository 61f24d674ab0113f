"""DINO: the centre, the teacher's temperature, the prototypes that stay at first."""

import pytest
import torch

from pipeline.pretrain.methods.dino import dino_targets
from tests.digits import self_supervised
from tests.method_values import OPTIM
from tests.oracles import dino
from tests.pretrain.family import trained


def test_the_centre_follows_the_mean_of_the_teachers_scores():
    method, feed = self_supervised("dino")
    expected = [0.0] * 12
    for step in range(3):
        views = feed(step)
        with torch.no_grad():
            scores = method.teacher.scores(torch.cat([views.first, views.second]))
        method.loss(views)
        method.after_step(step + 1, 10)
        expected = dino.moved(expected, scores.tolist(), 0.9)
        assert method.centre.tolist() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("warmup", "expected"), [(0.5, [0.04, 0.055, 0.07, 0.07]), (0.0, [0.07] * 4)])
def test_the_teachers_temperature_rises_in_a_share_of_the_steps(warmup, expected, monkeypatch):
    method, feed = self_supervised("dino", target_warmup=warmup)
    seen = []
    monkeypatch.setattr("pipeline.pretrain.methods.dino.dino_targets", lambda *x: seen.append(x[2]) or dino_targets(*x))
    for method.progress in (0.0, 0.25, 0.5, 0.9):
        method.loss(feed(0))
    assert seen == pytest.approx(expected)


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_the_prototypes_stay_to_the_bit_at_first(name, tmp_path):
    """Two of eight steps; the teacher's are their moving average."""
    method, feed = self_supervised("dino", frozen=0.25)
    start, stayed = method.student.prototypes.detach().clone(), []

    def batch_at(step):
        stayed.append(torch.equal(method.student.prototypes, start))
        return feed(step)

    optim = OPTIM.model_copy(update={"name": name, "nesterov": False, "weight_decay": 0.1, "warmup": 0.0})
    trained(method, batch_at, tmp_path, 8, optim)
    assert stayed == [True] * 3 + [False] * 5
