"""Self-supervised methods learn what they are given, and say so where they collapse."""

import logging

import pytest

from pipeline.pretrain.method import CollapseWarning
from tests.digits import self_supervised
from tests.method_values import OPTIM
from tests.pretrain.family import trained

FALLS = {  # changes, images, images a step, steps, and the share that the loss falls to; MoCo's, DINO's rise at first
    "barlow_twins": ({}, 300, 32, 15, 0.9),
    "byol": ({}, 8, 8, 15, 0.6),
    "cmsf": ({"queue_size": 30}, 8, 8, 15, 0.6),
    "context": ({}, 8, 8, 30, 0.9),
    "exemplar": ({}, 8, 8, 15, 0.6),
    "jigsaw": ({}, 8, 8, 30, 0.9),
    "mae": ({}, 8, 8, 30, 0.95),
    "maskfeat": ({}, 8, 8, 30, 0.95),
    "msf": ({}, 8, 8, 15, 0.6),
    "ncc": ({}, 8, 8, 15, 0.6),
    "npid": ({"negatives": 0, "head_norm": True}, 32, 16, 20, 0.8),
    "npid, NCE": ({"negatives": 16, "head_norm": True}, 32, 16, 20, 0.9),
    "pirl": ({}, 32, 16, 20, 0.8),
    "pirl, NCE": ({"negatives": 16}, 32, 16, 20, 0.9),
    "rotation": ({}, 8, 8, 15, 0.9),
    "split_brain": ({}, 8, 8, 30, 0.8),
    "simclr": ({}, 300, 32, 15, 0.96),
    "simreg": ({}, 8, 8, 15, 0.6),
    "simsiam": ({}, 8, 8, 15, 0.6),
    "uml": ({}, 8, 8, 15, 0.9),
    "vicreg": ({}, 300, 32, 15, 0.9),
    "mira": ({"frozen": 0.0, "temperature": 0.5}, 8, 8, 20, 0.9),
    "swav": ({"queue_size": 0, "frozen": 0.0, "temperature": 0.5}, 8, 8, 20, 0.9),
}


@pytest.mark.parametrize("case", FALLS)
def test_training_lowers_the_loss(case, tmp_path):
    changes, num_images, batch_size, steps, share = FALLS[case]
    method, feed = self_supervised(case.split(",")[0], batch_size=batch_size, num_images=num_images, **changes)
    rate = 0.02 if "NCE" in case else 0.1 if case in ("npid", "pirl") else OPTIM.learning_rate
    optim = OPTIM.model_copy(update={"learning_rate": rate})
    rows = trained(method, (lambda _: feed(0)) if num_images == 8 else feed, tmp_path, steps, optim)
    assert rows[-1]["loss"] < share * rows[0]["loss"]
    if case != "maskfeat":  # nothing is asked of its class token
        assert rows[-1]["feature_std"] > (
            0.1 if case == "simreg" else 0.3
        )  # its untrained teacher's points nearly one way


def test_collapse_is_told_once_and_not_at_the_start(caplog):
    warn = CollapseWarning(20)
    with caplog.at_level(logging.WARNING):
        for step, value in enumerate([0.02, 0.02, 0.8, 0.1, 0.03, 0.01], 1):
            warn({"step": step, "feature_std": value})
    assert caplog.messages == [
        "step 5 of 20: representations collapse: feature_std 0.030, 1 when spread evenly; a lower "
        "pretrain.optim.learning_rate or another pretrain.method may help"
    ]
