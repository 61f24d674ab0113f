"""What two processes make of the same batches, for tests/test_dist.py; torchrun starts it."""

import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from pipeline.nn.norm import synchronised
from pipeline.parallel import dist
from pipeline.pretrain.momentum_contrast import forward_in_groups
from tests.digits import METHODS, backbone, digits, learner, stopping, task
from tests.pretrain.family import trained as fit_on_cpu

STEPS = 4
# Labels at both levels, at the coarse one alone, at the fine one alone: how many are known differs between two parts.
PARTLY = [[d if i % 3 else -1, d % 2 if i % 5 else -1] for i, d in enumerate(digits()[1][1:21].tolist())]
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    **{name: (name, {}) for name in METHODS},
    "moco": ("moco", {"changes": {"bn_groups": 1}}),
    # Two epochs, so that there are clusters; not IFND, as two images of one cluster are equally sure but for rounding.
    "ncc, clustered": ("ncc", {"changes": {"num_images": 16}}),
    "fixmatch, aligned": ("fixmatch", {"changes": {"align": "labels"}}),
    "mixmatch, split": ("mixmatch", {"of": task(batch_norm="split")}),
    "hiermatch, partly": ("hiermatch", {"of": task(labels=PARTLY)}),
    "hiermatch of fixmatch, partly": ("hiermatch", {"changes": {"base": "fixmatch"}, "of": task(labels=PARTLY)}),
}
RESUMED = ("flexmatch", "paws")


def trained(case: str, folder: Path, stop_at: int | None = None) -> dict[str, torch.Tensor]:
    """The state of a method, and its curve, after a few steps of eight images a step over all processes.

    With `stop_at` each step is saved in the folder, and the run dies at the start of that one.
    """
    name, options = CASES[case]
    method, feed = learner(name, **options)
    save_seconds = 1e9 if stop_at is None else 0.0
    synchronised(method, "train").double()  # so that a difference is one of arithmetic, not of rounding
    rows = fit_on_cpu(method, stopping(feed, stop_at), folder, STEPS, save_seconds=save_seconds)
    curve = torch.tensor([list(row.values()) for row in rows])
    return {
        **{key: value.clone(memory_format=torch.contiguous_format) for key, value in method.state_dict().items()},
        "curve": curve,
    }


def gradients() -> dict[str, torch.Tensor]:
    """Of the mean over ranks of a loss of gathered and of summed rows, for this rank's rows."""
    part = dist.share(6, "rows")
    x = torch.arange(12.0).reshape(6, 2)[part].requires_grad_()
    gathered = dist.gather(x)
    weights = torch.arange(6.0)[part][:, None, None]
    ((weights * gathered.square()).mean() + dist.total(x.sum(0)).square().mean()).backward()
    assert x.grad is not None
    return {"gathered": gathered.detach(), "grad": dist.gather(x.grad / dist.world())}


def keys_apart() -> dict[str, torch.Tensor]:
    """Of MoCo's slow network, where batch norm sees half of a batch: another process's, or one of two groups."""
    images, net = digits()[0][:8].double() / 255, backbone().double().train()
    torch.manual_seed(0)
    with torch.no_grad():
        found = forward_in_groups(net, images[dist.share(8, "images")], 2 // dist.world(), "", shuffled=True)
    return {"keys": dist.gather(found)}


def main(folder: Path) -> None:
    with dist.processes():
        assert dist.world() == 2
        for name in CASES:
            state = trained(name, folder)
            # All ranks end alike, banks and queues too.
            for tensor in state.values():
                both = dist.gather(tensor.flatten()[None].float())
                assert torch.equal(both[0], both[1]), name
            if dist.rank() == 0:
                save_file(state, folder / f"{name}.safetensors")
        for name in RESUMED:
            parts = folder / f"{name}, resumed"
            parts.mkdir(exist_ok=True)
            with suppress(KeyboardInterrupt):
                trained(name, parts, stop_at=2)
            dist.gather(torch.zeros(1))  # rank 0 has saved
            state = trained(name, parts)
            if dist.rank() == 0:
                save_file(state, parts / "state.safetensors")
        for name, found in {"gradients": gradients(), "keys": keys_apart()}.items():
            if dist.rank() == 0:
                save_file(found, folder / f"{name}.safetensors")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
