"""Boxes, which of them look alike, and ORL's three terms."""

import copy
import itertools
import math

import pytest
import torch

from pipeline.base.errors import ParamsError
from pipeline.fit import fit
from pipeline.nn.device import Device
from pipeline.pretrain.boxes import TRIES, crops, iou, moved, random_boxes
from pipeline.pretrain.methods import METHODS
from pipeline.pretrain.pairs import Pairs
from tests import digits
from tests.digits import self_supervised
from tests.method_values import CONTRASTIVE, OPTIM, PARAMS
from tests.oracles import byol
from tests.pretrain.family import on_two_ranks, seeded_loss, unit
from tests.refusals import refusal_of

PLAIN = CONTRASTIVE.model_copy(update={"flip": 0.0, "jitter_prob": 0.0, "grey_prob": 0.0, "blur_prob": 0.0})


def pixels_of(box, side=100):
    """The pixels of a square image that lie in a box, which begins and ends between two of them."""
    left, top, wide, high = (round(side * value) for value in box)
    return set(itertools.product(range(left, left + wide), range(top, top + high)))


def test_overlap_is_counted_in_pixels():
    chance = torch.Generator().manual_seed(0)
    boxes = torch.randint(0, 50, (2, 60, 4), generator=chance) / 100 + torch.tensor([0.0, 0.0, 0.01, 0.01])
    for a, b, found in zip(*boxes.tolist(), iou(*boxes).tolist(), strict=True):
        one, other = pixels_of(a), pixels_of(b)
        assert found == pytest.approx(len(one & other) / len(one | other), abs=1e-4)


def test_random_boxes_are_large_enough_not_too_long_and_apart():
    boxes = random_boxes(40, 0.2, torch.Generator().manual_seed(0))
    assert len(boxes) == 40
    left, top, wide, high = boxes.T
    assert (boxes >= 0).all()
    assert (left + wide <= 1).all()
    assert (top + high <= 1).all()
    assert 0.2 <= min(wide.min(), high.min()) < 0.25
    assert 2 < torch.maximum(wide / high, high / wide).max() <= 3
    shared = iou(boxes[:, None].expand(-1, 40, -1), boxes.expand(40, -1, -1)).fill_diagonal_(0)
    assert 0.4 < shared.max() <= 0.5
    assert len(random_boxes(20, 0.9, torch.Generator().manual_seed(0))) < 5  # no room for more


def test_a_moved_box_is_the_first_try_that_fits():
    chance = torch.Generator().manual_seed(0)
    boxes = random_boxes(30, 0.3, chance)
    drawn = torch.rand(len(boxes), 12, 4, generator=chance)
    stayed = 0
    for box, tries, found in zip(boxes.tolist(), drawn.tolist(), moved(boxes, drawn).tolist(), strict=True):
        expected = box
        for across, down, area, ratio in reversed(tries):
            size, stretch = box[2] * box[3] * (0.5 + 1.5 * area), math.exp((2 * ratio - 1) * math.log(2))
            wide, high = math.sqrt(size * stretch), math.sqrt(size / stretch)
            left, top = box[0] + box[2] * across - wide / 2, box[1] + box[3] * down - high / 2
            there = [left, top, wide, high]
            inside = left >= 0 and top >= 0 and left + wide <= 1 and top + high <= 1
            if inside and iou(torch.tensor(there), torch.tensor(box)) > 0.5:
                expected = there
        assert found == pytest.approx(expected, abs=1e-5)
        stayed += expected is box
    assert 0 < stayed < len(boxes)


def test_a_crop_is_what_lies_in_the_box_mirrored_where_asked():
    images = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    boxes = torch.tensor([[[0.25, 0.5, 0.5, 0.5], [0.0, 0.0, 0.5, 0.5]]] * 2)
    flipped = torch.tensor([[False, True]] * 2)
    found = crops(images, boxes, (4, 4), flipped)
    torch.testing.assert_close(found[:, 0], images[:, :, 4:8, 2:6])
    torch.testing.assert_close(found[:, 1], images[:, :, 0:4, 0:4].flip(3))


def test_pairs_are_those_of_the_largest_cosine_of_the_nearest_images(monkeypatch):
    monkeypatch.setattr("pipeline.pretrain.pairs.BLOCK_NUMBERS", 100)  # several blocks of images
    whole, regions = unit(9, 4, seed=0), unit(9, 5, 4, seed=1)
    pairs = Pairs(9, 3, torch.rand(5, 4), 0.4, "pretrain.orl.neighbours")
    assert not pairs.found
    pairs.find(whole, regions)
    assert pairs.found
    for i in range(9):
        others = sorted((j for j in range(9) if j != i), key=lambda j: -(whole[i] @ whole[j]).item())[:3]
        assert pairs.nearest[i].tolist() == others
        for place, j in enumerate(others):
            every = itertools.product(range(5), range(5))
            best = sorted(every, key=lambda pair: -(regions[i, pair[0]] @ regions[j, pair[1]]).item())[:2]
            assert pairs.best[i, place].tolist() == [5 * mine + theirs for mine, theirs in best]
    which = torch.tensor([[0.0, 0.0], [0.99, 0.99]])
    images, mine, theirs = pairs.drawn(torch.tensor([4, 7]), which)
    for row, (image, place, rank) in enumerate([(4, 0, 0), (7, 2, 1)]):
        assert images[row] == pairs.nearest[image, place]
        a, b = divmod(int(pairs.best[image, place, rank]), 5)
        assert torch.equal(mine[row], pairs.boxes[a])
        assert torch.equal(theirs[row], pairs.boxes[b])


def boxed(**changes):
    """A method of float64 in eval mode whose second view is mirrored and nothing else, with pairs, and a batch."""
    method, feed = self_supervised("orl", num_images=40, **changes)
    method.see(method._images, [PLAIN, PLAIN.model_copy(update={"flip": 1.0})])
    method.double().eval()
    method.find_pairs()
    return method, feed(0)


def test_the_loss_is_byols_of_the_image_of_a_box_and_a_near_one_and_of_a_pair_of_boxes():
    method, views = boxed()
    found = seeded_loss(method, views)
    torch.manual_seed(0)
    which, _, tries = torch.rand(8, 3), torch.rand(8, 4), torch.rand(8, TRIES, 4)
    box = method.pairs.boxes[(which[:, 0] * 6).long()]
    other, mine, theirs = method.pairs.drawn(views.rows, which[:, 1:].double())
    cut = [
        crops(method._images[rows].float() / 255, where[:, None], (4, 4))[:, 0]
        for rows, where in ((views.rows, box), (views.rows, moved(box, tries)), (views.rows, mine), (other, theirs))
    ]

    def term(first, second, predictor):
        p, z = (
            [head(net(x)[1]).tolist() for x in (first, second)]
            for net, head in ((method.student, predictor), (method.teacher, torch.nn.Identity()))
        )
        return byol.byol(*p, *z)

    with torch.no_grad():
        whole = term(views.first, views.second, method.predictor)
        within, across = term(cut[0], cut[1].flip(3), method.within), term(cut[2], cut[3].flip(3), method.across)
    assert found.logs["within"].item() == pytest.approx(within, rel=1e-6)
    assert found.logs["across"].item() == pytest.approx(across, rel=1e-6)
    assert found.loss.item() == pytest.approx(whole + 0.5 * within + 0.25 * across, rel=1e-6)


def test_before_its_start_it_is_byol_to_the_byte_and_after_it_not():
    (orl, feed), (alone, _) = self_supervised("orl", start=0.5), self_supervised("byol")
    for step in range(6):
        losses = []
        for method in (orl, alone):
            method.progress = step / 10
            losses.append(seeded_loss(method, feed(step), step).loss)
            method.after_step(step + 1, 10)
        assert torch.equal(*losses) is (step < 5)


def test_pairs_are_found_once_at_the_start_in_the_precision_of_the_steps(tmp_path, caplog):
    caplog.set_level("INFO")
    method, feed = self_supervised("orl", num_images=40, start=0.5)
    passes = []
    method.teacher.register_forward_hook(
        lambda net, _, out: passes.append((net.training, method.progress, out[1].dtype))
    )
    fit(
        method, feed, OPTIM, num_steps=4, seed=0, device=Device(torch.device("cpu"), bf16=True), state=tmp_path,
        save_seconds=1e9,
    )  # fmt: skip
    assert {tuple(rest) for training, *rest in passes if not training} == {(0.5, torch.bfloat16)}
    assert caplog.messages.count(f"orl: finding pairs of {len(method.pairs.boxes)} boxes in 40 images") == 1


def test_two_processes_find_the_pairs_that_one_finds(monkeypatch):
    method, _ = boxed()
    copies = [copy.deepcopy(method) for _ in range(2)]
    for net in copies:
        net._images = method._images
        net.pairs.best.zero_()
    on_two_ranks(lambda rank: copies[rank].find_pairs(), monkeypatch)
    assert method.pairs.best.any()
    for net in copies:
        assert torch.equal(net.pairs.best, method.pairs.best)
        assert torch.equal(net.pairs.nearest, method.pairs.nearest)


def test_what_it_refuses():
    says = refusal_of(lambda: self_supervised("orl", num_images=8, neighbours=8), kind=ParamsError)
    assert says == "pretrain.orl.neighbours: expected less than 8, the training images, got 8"
    says = refusal_of(lambda: self_supervised("orl", crop=0.1), kind=ParamsError)
    assert says == "pretrain.orl.crop: expected at least 0.250 for images of 8 x 8, 2 pixels, got 0.1"
    method = METHODS["orl"](digits.backbone(), METHODS["orl"].Params(**PARAMS["orl"]), 50, torch.Generator())
    says = refusal_of(method.see, None, [PLAIN, PLAIN], kind=ParamsError)
    assert says.startswith("machine.resident_mb: expected room for all training images with pretrain.orl")
