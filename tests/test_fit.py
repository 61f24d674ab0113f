"""The loop: an interrupted run ends in the same bytes, the curve is what happened, a bad loss is named by its step."""

import re
import time
from contextlib import suppress

import pytest
import torch

from pipeline.base.errors import TrainingError
from pipeline.fit import Method, Step, fit, forecast
from pipeline.nn.device import Device
from pipeline.parallel import dist
from pipeline.parallel.heap import keep_freed_memory
from tests.digits import METHODS, SEMISUP_NAMES, learner, stopping
from tests.method_values import OPTIM
from tests.pretrain.family import trained
from tests.refusals import refusal_of


def run(name, state, steps=12, stop_at=None, save_seconds=0.0, optim=OPTIM):
    """The method's state and the curve; nothing of a run that dies at step `stop_at`."""
    method, feed = learner(name)
    with suppress(KeyboardInterrupt):
        rows = trained(method, stopping(feed, stop_at), state, steps, optim, save_seconds)
        return method.state_dict(), rows


@pytest.mark.parametrize(("name", "stop_at"), [*((name, 10) for name in METHODS), *((n, 1) for n in SEMISUP_NAMES)])
def test_resumed_ends_in_the_same_bytes(name, stop_at, tmp_path):
    """Queues have gone round at step 10. Self-supervised methods go on early in tests/pretrain/test_contract.py."""
    (tmp_path / "whole").mkdir()
    (tmp_path / "parts").mkdir()
    whole, rows = run(name, tmp_path / "whole", save_seconds=1e9)
    assert run(name, tmp_path / "parts", stop_at=stop_at) is None
    parts, again = run(name, tmp_path / "parts")
    assert rows == again
    assert whole.keys() == parts.keys()
    for key, tensor in whole.items():
        assert torch.equal(tensor, parts[key]), key


@pytest.mark.parametrize("name", ["lars", "adamw"])
def test_each_optimiser_goes_on_in_the_same_bytes(name, tmp_path):
    """SwAV's prototypes have no gradient at first, so AdamW counts their steps from a later one."""
    changes = {"name": name, "nesterov": False, "learning_rate": 1e-3, "weight_decay_end": 0.4, "clip_norm": 3.0}
    optim = OPTIM.model_copy(update=changes)
    ends = []
    for folder, stops in (("whole", []), ("parts", [2, 7])):
        (tmp_path / folder).mkdir()
        for stop_at in stops:
            assert run("swav", tmp_path / folder, stop_at=stop_at, optim=optim) is None
        ends.append(run("swav", tmp_path / folder, optim=optim))
    (whole, rows), (parts, again) = ends
    assert rows == again
    assert all(torch.equal(tensor, parts[key]) for key, tensor in whole.items())


def test_a_long_gradient_is_cut_to_its_most_length(tmp_path):
    """The gradient is -5 at 0.5; it is cut once both batches have added to it."""
    moved = []
    for most in (0.0, 0.25, 100.0):
        line, changes = Line(), {"clip_norm": most, "schedule": "constant", "warmup": 0.0, "weight_decay": 0.0}
        optim = OPTIM.model_copy(update={**changes, "momentum": 0.0, "nesterov": False, "accumulate": 2})
        trained(line, lambda _: torch.ones(1, dtype=torch.float64), tmp_path, 2, optim)
        moved.append((line.w.item() - 0.5) / optim.learning_rate)
    assert moved == pytest.approx([5.0, 0.25, 5.0], rel=1e-5)


def test_resume_does_not_start_anew(tmp_path):
    run("moco", tmp_path, stop_at=7)
    seen = []
    method, feed = learner("moco")
    trained(method, lambda step: seen.append(step) or feed(step), tmp_path, 12)
    assert seen == [7, 8, 9, 10, 11]


class Line(Method[torch.Tensor]):
    """Least squares on the numbers of a batch."""

    def __init__(self):
        super().__init__()
        self.w = torch.nn.Parameter(torch.tensor([[0.5]], dtype=torch.float64))
        self.seen = []

    def loss(self, batch):
        return Step((self.w * batch - 2 * batch - 1).square().mean())

    def after_step(self, step, _num_steps):
        self.seen.append(step)


@pytest.mark.parametrize("stop_at", [None, 5, 6])
def test_accumulated_batches_are_one_large_batch(stop_at, tmp_path):
    """Three batches for a step of the optimiser, two at the end; a run that is killed between them goes on alike."""
    numbers = torch.arange(16.0, dtype=torch.float64)
    large, small = Line(), Line()
    optim = OPTIM.model_copy(update={"schedule": "constant", "warmup": 0.0})
    (tmp_path / "large").mkdir()
    (tmp_path / "small").mkdir()
    trained(large, lambda step: numbers[6 * step : 6 * step + 6], tmp_path / "large", 2, optim)

    def batch_at(step):
        return numbers[2 * step : 2 * step + 2]

    optim = optim.model_copy(update={"accumulate": 3})
    if stop_at is not None:
        with suppress(KeyboardInterrupt):
            trained(Line(), stopping(batch_at, stop_at), tmp_path / "small", 6, optim, save_seconds=0.0)
    trained(small, batch_at, tmp_path / "small", 6, optim, save_seconds=0.0)
    torch.testing.assert_close(small.w, large.w)


def test_what_is_left_of_accumulated_batches_moves_at_the_end(tmp_path):
    optim = OPTIM.model_copy(update={"accumulate": 3, "warmup": 0.0})
    line = Line()
    weights = []

    def batch_at(_step):
        weights.append(line.w.item())
        return torch.ones(2, dtype=torch.float64)

    trained(line, batch_at, tmp_path, 5, optim)
    assert line.seen == [1, 2, 3, 4, 5]
    assert weights[0] == weights[1] == weights[2] != weights[3] == weights[4] != line.w.item()
    # The mean gradient of batches that are alike is that of one, however many are left.
    steady = optim.model_copy(update={"schedule": "constant"})
    ends = []
    for steps in (4, 5, 6):
        line = Line()
        trained(line, batch_at, tmp_path, steps, steady)
        ends.append(line.w.item())
    assert ends[0] == pytest.approx(ends[1], rel=1e-12) == pytest.approx(ends[2], rel=1e-12)


class Constant(Method[int]):
    """Its loss at step t is losses[t]."""

    def __init__(self, losses):
        super().__init__()
        self.w = torch.nn.Parameter(torch.ones(1, 1))
        self.losses = losses

    def loss(self, batch):
        return Step(self.w.sum() * 0 + self.losses[batch], {"twice": torch.tensor(2.0 * self.losses[batch])})


def test_curve_rows_are_means_over_the_steps_since_the_last(tmp_path):
    losses = [float(i) for i in range(401)]
    rows = trained(Constant(losses), int, tmp_path, 401)
    assert [row["step"] for row in rows] == [*range(2, 401, 2), 401]
    assert [row["loss"] for row in rows] == [*(i + 0.5 for i in range(0, 400, 2)), 400.0]
    assert [row["twice"] for row in rows] == [2 * row["loss"] for row in rows]
    assert rows[0]["learning_rate"] == pytest.approx(0.05 * (1 / 401) / 0.2)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("at", [0, 3, 400])
def test_a_loss_that_is_not_finite_is_refused_by_its_step(bad, at, tmp_path):
    losses = [1.0] * 401
    losses[at] = bad
    says = refusal_of(trained, Constant(losses), int, tmp_path, 401, OPTIM, 0.0, kind=TrainingError)
    assert says.startswith(f"step {at + 1} of 401: expected a finite loss, got {bad}; a lower optim.learning_rate")


@pytest.mark.parametrize("name", METHODS)
def test_bf16_trains_on_colour_images_with_views_in_float32(name, tmp_path):
    method, feed = learner(name, channels=3)
    views = []

    def batch_at(step):
        batch = feed(step)
        views.extend((batch.labelled, *batch.views) if hasattr(batch, "labelled") else (batch.first, batch.second))
        return batch

    device = Device(torch.device("cpu"), bf16=True)
    rows = fit(method, batch_at, OPTIM, num_steps=3, seed=0, device=device, state=tmp_path, save_seconds=1e9)
    assert {view.dtype for view in views} == {torch.float32}
    assert {p.dtype for p in method.parameters()} == {torch.float32}
    other, feed = learner(name, channels=3)
    exact = trained(other, feed, tmp_path, 3)
    assert rows != exact
    assert rows[0]["loss"] == pytest.approx(exact[0]["loss"], rel=0.05)


class Steep(Constant):
    """A loss of 0 whose gradient is 1e10."""

    def loss(self, batch):
        return Step((self.w.sum() - 1) * 1e10 + 0 * batch)


def test_weights_that_are_not_finite_are_refused_at_the_end(tmp_path):
    wild = OPTIM.model_copy(update={"learning_rate": 1e30, "warmup": 0.0})
    says = refusal_of(trained, Steep([]), int, tmp_path, 1, wild, kind=TrainingError)
    assert says == "step 1 of 1: expected finite weights, got some that are not"


def test_nothing_is_saved_after_a_bad_loss(tmp_path):
    with pytest.raises(TrainingError):
        trained(Constant([float("nan")] * 9), int, tmp_path, 9, save_seconds=0.0)
    assert list(tmp_path.iterdir()) == []


def test_processes_that_would_resume_at_different_steps_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(dist, "gather", lambda x: torch.cat([x, x + 7]))
    says = refusal_of(run, "simclr", tmp_path, kind=TrainingError)
    assert says.endswith("expected a folder that all processes see, got resumes at steps [0, 7]")


def test_without_a_terminal_the_log_tells_how_far_it_is(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("pipeline.fit.LOG_SECONDS", 0.0)
    with caplog.at_level("INFO"):
        _, rows = run("simclr", tmp_path, steps=3)
    assert caplog.messages == [f"step {row['step']} of 3: loss {row['loss']:.4f}" for row in rows]


def test_the_log_says_once_and_early_how_long_the_rest_takes(tmp_path, monkeypatch, caplog):
    """From steps of a tenth of a second; the first one, which takes longer, says nothing of the others."""
    monkeypatch.setattr("pipeline.fit.FORECAST_SECONDS", 0.3)

    def batch_at(step):
        time.sleep(0.1 if step else 1.0)
        return torch.ones(2, 1, dtype=torch.float64)

    with caplog.at_level("INFO"):
        trained(Line(), batch_at, tmp_path, 20)
    (message,) = caplog.messages
    seconds, left, speed = re.fullmatch(r"about (\d+) s to go: (\d+) steps, (\S+) a second", message).groups()
    assert 10 <= int(left) < 18
    assert 2 < float(speed) < 10
    assert int(seconds) == pytest.approx(int(left) / float(speed), abs=0.6)


@pytest.mark.parametrize(
    ("steps", "speed", "says"),
    [
        (1200, 10.0, "about 2 min to go: 1,200 steps, 10 a second"),
        (1190, 10.0, "about 119 s to go: 1,190 steps, 10 a second"),
        (50_000, 0.5, "about 28 h to go: 50,000 steps, 0.5 a second"),
    ],
)
def test_a_forecast(steps, speed, says):
    assert forecast(steps, speed) == says


def test_memory_is_kept_from_the_first_step_on(tmp_path):
    kept = []
    keep_freed_memory.cache_clear()

    def batch_at(_step):
        kept.append(keep_freed_memory.cache_info().currsize)
        return torch.ones(2, dtype=torch.float64)

    trained(Line(), batch_at, tmp_path, 3)
    assert kept == [0, 1, 1]
