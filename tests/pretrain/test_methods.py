"""What holds of every self-supervised method, whatever its loss."""

import copy
import math
from dataclasses import replace

import pytest
import torch
from pydantic import ValidationError

from pipeline.base.errors import ParamsError
from pipeline.pretrain.cld import Cld, CldParams
from pipeline.pretrain.methods import METHODS
from pipeline.pretrain.multi_task import TASKS, MultiTask
from tests import digits
from tests.digits import self_supervised
from tests.method_values import OPTIM, PARAMS
from tests.pretrain.family import on_two_ranks, seeded_loss
from tests.refusals import refusal_of

CLD = CldParams(weight=0.5, dim=8, hidden_dim=16, temperature=0.2, clusters=4, iterations=3)
WEIGHTS = {"rotation": 0.5, "jigsaw": 2.0, "context": 0.25, "exemplar": 0.75, "colorization": 1.5}  # beside a method
BLOCKS = {name: TASKS[name].Params(**{"colorization": {"colour_bins": 6}, **PARAMS}[name]) for name in WEIGHTS}
CASES = {name: (name, {}) for name in sorted(METHODS)} | {
    "moco, v1": ("moco", {"symmetric": False, "hidden_dim": 0, "bn_groups": 1}),
    "npid, softmax": ("npid", {"negatives": 0, "head_norm": True}),
    "pirl, NCE": ("pirl", {"negatives": 30, "head_norm": False}),
    "swav, moving": ("swav", {"frozen": 0.0, "queue_size": 0}),
    "dino, moving": ("dino", {"frozen": 0.0}),
    "ifnd, with clusters": ("ifnd", {"num_images": 32}),
    "interclr, with clusters": ("interclr", {"num_images": 32}),
    "ncc, with clusters": ("ncc", {"num_images": 32}),
    "cld": ("moco", {"bn_groups": 1}),
    "multi_task": ("byol", {}),
}
# In the batch, so that its order matters.
DRAWN_BY_PLACE = {
    "context",
    "jigsaw",
    "mae",
    "maskfeat",
    "ncc",
    "ncc, with clusters",
    "orl",
    "pirl",
    "pirl, NCE",
    "uml",
    "cld",
    "multi_task",
}
TAUGHT = ["ascl", "byol", "cmsf", "dino", "ifnd", "interclr", "mira", "mochi", "moco", "msf", "ncc", "orl", "xmoco"]


def made(case, **options):
    """A method and its feed."""
    name, changes = CASES[case]
    method, feed = self_supervised(name, channels=3 if case == "multi_task" else 1, **changes, **options)
    chance = torch.Generator().manual_seed(0)
    if case == "cld":
        return Cld(method, CLD, chance), feed
    if case == "multi_task":
        backbone = next(net for net in method.modules() if hasattr(net, "about"))
        return MultiTask(method, backbone, WEIGHTS, BLOCKS, 300, chance), feed
    return method, feed


def remembered(method):
    """Queues, banks and what else a method remembers: its buffers without batch norm's."""
    skipped = ("running_mean", "running_var", "num_batches_tracked")
    return {name: x.clone() for name, x in method.named_buffers() if not name.endswith(skipped)}


def same_memory(method, expected):
    torch.testing.assert_close(remembered(method), expected)


def warmed(case, steps=4):
    """The method after a few steps, when its queue or bank holds what it has seen."""
    method, feed = made(case)
    for step in range(steps):
        seeded_loss(method, feed(step), step)
        method.after_step(step + 1, 10)
    return method, feed


@pytest.mark.parametrize("case", CASES)
def test_loss_twice_gives_the_same_and_changes_nothing(case):
    method, feed = warmed(case)
    before = remembered(method)
    first, second = (seeded_loss(method, feed(4)) for _ in range(2))
    assert torch.equal(first.loss, second.loss)
    assert 0 < first.logs["feature_std"] < 1.5
    assert all(torch.equal(x, before[name]) for name, x in remembered(method).items())


@pytest.mark.parametrize("case", CASES)
def test_a_step_remembers_the_last_batch_once(case):
    method, feed = warmed(case)
    other = copy.deepcopy(method)
    seeded_loss(other, feed(4))
    seeded_loss(method, feed(5))
    seeded_loss(method, feed(4))
    for learner in (method, other):
        learner.after_step(5, 10)
    same_memory(method, remembered(other))
    method.after_step(5, 10)  # nothing waits any more
    same_memory(method, remembered(other))


@pytest.mark.parametrize("case", [case for case, (name, _) in CASES.items() if METHODS[name].num_views == 2])
def test_features_are_the_backbones_for_both_views(case):
    """In eval mode, in which an image's features do not depend on its batch; the teacher is still the student."""
    method, feed = made(case)
    views, backbone = feed(0), next(net for net in method.modules() if hasattr(net, "about"))
    features = seeded_loss(method.eval(), views).features
    assert [h.shape for h in features] == [(8, 64), (8, 64)]
    assert [h.requires_grad for h in features] == [True, case not in ("msf", "cmsf", "moco, v1")]
    for h, view in zip(features, (views.first, views.second), strict=True):
        if not (case.startswith("pirl") and view is views.second):  # pieces, whose test is elsewhere
            torch.testing.assert_close(h, backbone(view), rtol=1e-4, atol=1e-5)


def test_tasks_are_learnt_beside_the_method_each_by_its_weight():
    method, feed = made("multi_task")
    views = feed(0)
    found = seeded_loss(method, views)
    torch.manual_seed(0)
    expected = method.base.loss(views).loss
    for task, weight in WEIGHTS.items():
        term = method.tasks[task].loss(views).loss
        assert torch.equal(term, found.logs[task])
        expected = expected + weight * term
    assert torch.equal(found.loss, expected)
    assert method.projector is method.base.projector
    assert sum("conv1" in name for name, _ in method.named_parameters()) == 6  # of student and teacher: none twice


@pytest.mark.parametrize("case", CASES)
def test_gradients_reach_every_weight_but_the_teachers(case):
    method, feed = made(case)
    seeded_loss(method, feed(0)).loss.backward()
    for name, p in method.named_parameters():
        if "teacher" in name or (case in ("dino", "mira", "swav") and name.endswith("prototypes")):  # frozen at first
            assert p.grad is None, name
            assert p.requires_grad is ("teacher" not in name)
        else:
            assert p.grad is not None, name
            assert p.ndim == 1 or p.grad.abs().sum() > 0, name


@pytest.mark.parametrize("case", sorted(set(CASES) - DRAWN_BY_PLACE))
def test_the_order_of_a_batch_does_not_matter(case):
    method, feed = warmed(case)
    method.double().eval()
    views, order = feed(4), torch.tensor([3, 1, 7, 0, 2, 6, 5, 4])
    other = replace(
        views, first=views.first[order], second=views.second[order], local=views.local[:, order], rows=views.rows[order]
    )
    expected, found = seeded_loss(method, views), seeded_loss(method, other)
    assert found.loss.item() == pytest.approx(expected.loss.item(), rel=1e-9)
    for h, g in zip(expected.features, found.features, strict=True):
        torch.testing.assert_close(g, h[order])


@pytest.mark.parametrize("case", CASES)
def test_two_processes_do_what_one_does(case, monkeypatch):
    """The mean of their losses, its gradient and what each remembers; each has half a batch, norms are in eval mode."""
    one, feed = warmed(case)
    one.double().eval()
    views, copies = feed(4), [copy.deepcopy(one) for _ in range(2)]
    parts = [
        replace(views, first=views.first[p], second=views.second[p], local=views.local[:, p], rows=views.rows[p])
        for p in (slice(0, 4), slice(4, 8))
    ]
    loss = seeded_loss(one, views).loss
    loss.backward()
    one.after_step(5, 10)
    mean = sum(on_two_ranks(lambda rank: copies[rank].loss(parts[rank]).loss, monkeypatch)) / 2
    mean.backward()
    on_two_ranks(lambda rank: copies[rank].after_step(5, 10), monkeypatch)
    torch.testing.assert_close(mean, loss)
    for name, p in one.named_parameters():
        if p.grad is not None:
            torch.testing.assert_close(sum(net.get_parameter(name).grad for net in copies), p.grad)
    for net in copies:
        same_memory(net, remembered(one))


@pytest.mark.parametrize("case", TAUGHT)
def test_the_teacher_follows_the_student_by_the_papers_schedule(case):
    method, feed = made(case)
    method.loss(feed(0))
    teacher, student = (next(net.parameters()) for net in (method.teacher, method.student))
    with torch.no_grad():
        student.add_(1.0)
    for step in (3, 7, 10):  # momentum_start is 0.9, momentum_end 1: at the last step nothing moves
        momentum = 1 - (1 - 0.9) * (math.cos(math.pi * step / 10) + 1) / 2
        expected = momentum * teacher + (1 - momentum) * student
        before = teacher.clone()
        method.after_step(step, 10)
        torch.testing.assert_close(teacher, expected)
        assert torch.equal(teacher, before) is (step == 10)


@pytest.mark.parametrize("case", TAUGHT)
def test_the_teachers_batch_norm_has_statistics_of_its_own(case):
    method, feed = made(case)
    before = {name: x.clone() for name, x in method.teacher.named_buffers()}
    method.loss(feed(0))
    assert any(not torch.equal(x, before[name]) for name, x in method.teacher.named_buffers())
    moved = {name: x.clone() for name, x in method.teacher.named_buffers()}
    for x in method.student.buffers():
        x.zero_()
    method.after_step(1, 10)
    assert all(torch.equal(x, moved[name]) for name, x in method.teacher.named_buffers())


@pytest.mark.parametrize("case", ["ascl", "cmsf", "ifnd", "mochi", "moco", "msf", "swav", "xmoco"])
def test_a_queue_is_no_longer_than_there_are_images(case):
    assert len(self_supervised(case, num_images=7)[0].queue) == 7


@pytest.mark.parametrize(
    ("name", "field", "value"),
    [
        ("byol", "dim", 0), ("byol", "hidden_dim", 0), ("byol", "momentum_start", 1.0), ("byol", "momentum_end", 1.1),
        ("simsiam", "projector_layers", 0), ("simsiam", "predictor_dim", 0), ("msf", "neighbours", 0),
        ("msf", "queue_size", 0), ("msf", "momentum_start", 1.0), ("npid", "dim", 0), ("swav", "prototypes", 1),
        ("swav", "epsilon", 0.0), ("swav", "iterations", 0), ("swav", "frozen", 1.1), ("swav", "temperature", 0.0),
        ("moco", "bn_groups", 0), ("pirl", "grid", 1), ("ascl", "queue_size", 1), ("mochi", "hardest", 0),
        ("xmoco", "queue_size", 1),
        ("mira", "beta_start", 1.0), ("mira", "prototypes", 1), ("mira", "frozen", 1.1),
        ("dino", "prototypes", 1), ("dino", "target_temperature", 0.0), ("dino", "centre_momentum", 1.0),
        ("jigsaw", "orders", 25),
    ],
)  # fmt: skip
def test_values_out_of_range_are_refused(name, field, value):
    """Negative numbers and what is no number: tests/pretrain/test_contract.py."""
    with pytest.raises(ValidationError, match=field):
        METHODS[name].Params(**{**PARAMS[name], field: value})


def test_exemplar_is_for_sets_of_which_each_step_can_move_all_classes():
    says = "pretrain.exemplar: expected at most 100000 training images, got 100001; npid remembers"
    assert refusal_of(lambda: self_supervised("exemplar", num_images=100_001), kind=ParamsError).startswith(says)


def test_a_task_of_uml_has_no_more_images_than_a_batch():
    method, feed = self_supervised("uml", way=9)
    assert refusal_of(method.loss, feed(0), kind=ParamsError) == (
        "pretrain.uml.way: expected at most 8, the images of a batch, got 9"
    )


def test_the_predictors_rate_stays_constant_in_simsiam_alone():
    assert [name for name in METHODS if self_supervised(name)[0].constant_rate] == ["simsiam"]
    method, _ = self_supervised("simsiam")
    optimiser = OPTIM.optimiser(method)
    OPTIM.move(optimiser, 0.95)
    rates = {p: group["lr"] for group in optimiser.param_groups for p in group["params"]}
    assert {rates[p] for p in method.predictor.parameters()} == {OPTIM.learning_rate}
    assert all(rates[p] < 0.1 * OPTIM.learning_rate for p in method.encoder.parameters())


def test_nccs_predictor_has_a_multiple_of_the_rate():
    method, _ = self_supervised("ncc", predictor_rate=10.0)
    optimiser = OPTIM.optimiser(method)
    OPTIM.move(optimiser, 0.5)
    rates = {p: group["lr"] for group in optimiser.param_groups for p in group["params"]}
    fast, usual = ({rates[p] for p in part.parameters() if p.ndim > 1} for part in (method.predictor, method.student))
    assert {10 * rate for rate in usual} == fast


def test_simregs_teacher_stays_out_of_the_state_and_is_refused_where_it_does_not_fit(tmp_path):
    method, feed = self_supervised("simreg")
    taught = method._teacher[0].state_dict()
    before = {name: x.clone() for name, x in taught.items()}
    method.train().loss(feed(0)).loss.backward()
    assert all(torch.equal(x, before[name]) for name, x in taught.items())
    assert not any("teacher" in name for name in method.state_dict())
    says = refusal_of(lambda: self_supervised("simreg", channels=3, teacher=digits.larger(1)))
    assert says.endswith("expected a teacher for images of 3 channels, got one for 1")
    says = refusal_of(lambda: self_supervised("simreg", teacher=str(tmp_path)), kind=ParamsError)
    assert says.startswith("pretrain.simreg.teacher: expected a folder with the backbone.json and backbone.safetensors")
