"""S4L: its loss against loops, what it becomes without its second task, and what it refuses."""

from dataclasses import replace

import pytest
import torch

from pipeline.base.errors import ParamsError
from pipeline.train.methods import METHODS
from pipeline.train.methods.s4l import TURN, WithTurns
from tests.digits import backbone, semi, task
from tests.oracles.algebra import cross_entropy
from tests.refusals import refusal_of
from tests.train.helpers import IMAGES


def quarter(image):
    """A quarter turn as index arithmetic: column j from the right becomes row j from the top."""
    return image.transpose(-2, -1).flip(-2)


def test_the_loss_is_the_mean_over_images_and_turns():
    method, feed = semi("s4l", weight=0.5)
    method.eval()
    batch = feed(0)
    classes, turns = [], {0: [], 1: []}
    for part, images in enumerate((batch.labelled, batch.views[0])):
        for i, image in enumerate(images):
            now = image
            for turn in range(4):
                out = {name: logits[0].tolist() for name, logits in method.net(now[None]).items()}
                turns[part].append(cross_entropy(out[TURN], turn))
                if part == 0:
                    classes.append(cross_entropy(out["label"], int(batch.label[i, 0])))
                now = quarter(now)
    supervised = sum(classes) / len(classes)
    both = sum(sum(part) / len(part) for part in turns.values()) / 2
    out = method.loss(batch)
    assert out.logs["labelled"].item() == pytest.approx(supervised, rel=1e-5)
    assert out.loss.item() == pytest.approx(supervised + 0.5 * both, rel=1e-5)


def test_without_turns_and_their_weight_it_is_the_supervised_loss():
    """In eval mode, as in train mode batch norm rightly sees the unlabelled images too."""
    method, feed = semi("s4l", weight=0.0, turn_labelled=False)
    supervised, _ = semi("supervised")
    supervised.net.load_state_dict({k: v for k, v in method.net.state_dict().items() if not k.startswith("turn.")})
    batch = feed(0)
    losses = [one.eval().loss(batch).loss for one in (method, supervised)]
    torch.testing.assert_close(losses[0], losses[1])
    grads = [torch.autograd.grad(loss, list(one.net.backbone.parameters())) for loss, one in
             zip(losses, (method, supervised), strict=True)]  # fmt: skip
    torch.testing.assert_close(grads[0], grads[1])


def test_the_result_has_no_layer_for_the_turns():
    method, _ = semi("s4l")
    result = method.result(IMAGES)
    assert not isinstance(result, WithTurns)
    assert not [name for name in result.state_dict() if "turn" in name]
    assert result.backbone is method.ema_net.backbone


def test_images_that_are_not_square_are_refused():
    says = refusal_of(METHODS["s4l"], backbone(), replace(task().finest(), size=(8, 6)), semi("s4l")[0].params,
                      kind=ParamsError)  # fmt: skip
    assert "expected square images for s4l, which turns them, got 8 x 6; set ingest.size" in says
