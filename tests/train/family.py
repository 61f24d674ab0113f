"""What FixMatch's variations are all asked for, and a backbone that batch norm can be left alone in."""

import torch

from pipeline.fit import fit
from pipeline.nn.device import Device
from pipeline.train.pixels import Resident
from tests.digits import OPTIM, backbone, digits, task

CPU = Device(torch.device("cpu"), bf16=False)
SHARED = {"ratio": 2, "weight": 1.0, "align": "none", "align_keep": 0.9, "keep": 0.9}
FEW = [
    [[3]],  # one class only, one label
    [[3], [3], [3], [7]],  # fewer labels than a batch has images, one label in a class, eight classes without any
]


def settled():
    """A backbone of chance whose running statistics are those of the digits, as pretraining leaves them."""
    net = backbone()
    with torch.no_grad():
        for _ in range(40):
            net(digits()[0][:300])
    return net


def logits(seed, count=40, classes=10):
    return 3 * torch.randn(count, classes, generator=torch.Generator().manual_seed(seed))


def sure_of(guess, height=20.0):
    """Logits that are all but certain of the class `guess[i]`."""
    return height * torch.eye(10)[guess]


def guesses(cls, params, labels=None):
    """The unlabelled loss of a method at the finest level."""
    return cls.Guesses(cls.Params(**{**SHARED, **params}), task(labels=labels).finest(), 0)


def made(cls, params, of=None):
    method = cls(backbone(), of or task().finest(), cls.Params(**{**SHARED, **params}))
    return method, method.feed(Resident(digits()[0][:300]))


def remembered(method):
    return {name: tensor.clone() for name, tensor in method.guesses.state_dict().items()}


def check_few_labels(cls, params, labels):
    """All is finite, no buffer moves before `after_step`, and no guess of a class without a label counts."""
    for how in ("joint", "interleaved", "split"):
        method, feed = made(cls, params, task(labels=labels, batch_norm=how, sampling="classes").finest())
        for step in range(3):
            before = remembered(method)
            out, again = method.loss(feed(step)), method.loss(feed(step))
            assert out.loss.isfinite()
            assert torch.equal(out.loss, again.loss)
            assert all(torch.equal(tensor, before[name]) for name, tensor in remembered(method).items())
            out.loss.backward()
            assert all(p.grad.isfinite().all() for p in method.parameters() if p.requires_grad)
            method.after_step(step + 1, 3)
        assert all(tensor.isfinite().all() for tensor in method.state_dict().values())
    own = guesses(cls, {**params, "align": "none"}, labels)  # alignment moves guesses to classes that have a label
    for _ in range(3):
        loss, kept = own(sure_of([5] * 40), logits(1), torch.arange(40))
        assert loss == 0
        assert kept == 0
        own.after_step()
    loss, kept = own(sure_of([3] * 20 + [5] * 20), logits(1), torch.arange(40))
    assert loss > 0
    assert 0 < kept <= 0.5


def check_levels(cls, params):
    """With two levels the losses are summed, and each level remembers its own."""
    method, feed = made(cls, params, task())
    method.eval()
    batch = feed(0)
    out = method.loss(batch)
    weak, strong = (method.net(view) for view in batch.views)
    parts = [own(weak[level], strong[level], batch.rows)[0] for level, own in zip(weak, method.guesses, strict=True)]
    assert len(parts) == 2
    torch.testing.assert_close(out.logs["unlabelled"], parts[0] + parts[1])
    before = remembered(method)
    method.after_step(1, 2)
    after = remembered(method)
    for level in ("0.", "1."):
        assert any(not torch.equal(after[name], before[name]) for name in before if name.startswith(level))
    part = task(labels=[[3, 1], [-1, 0], [-1, 1], [4, -1]])
    method, feed = made(cls, params, part)
    for step in range(2):
        out = method.loss(feed(step))
        assert out.loss.isfinite()
        method.after_step(step + 1, 2)


def check_training(cls, params, tmp_path):
    method, feed = made(cls, params)
    rows = fit(method, feed, OPTIM, num_steps=20, seed=0, device=CPU, state=tmp_path, save_seconds=1e9)
    first, last = (sum(row["loss"] for row in part) for part in (rows[:5], rows[-5:]))
    assert last < first
    assert any(row["kept"] > 0 for row in rows)
