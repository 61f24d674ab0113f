"""What two processes make of the same batches, for tests/test_dist.py; torchrun starts it."""

import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

from pipeline import dist
from pipeline.fit import fit
from pipeline.nn.device import Device
from pipeline.nn.norm import synchronised
from pipeline.selfsup import METHODS
from tests.digits import OPTIM, learner

CPU = Device(torch.device("cpu"), bf16=False)
STEPS = 4


def trained(name: str, folder: Path) -> dict[str, torch.Tensor]:
    """The state of a method, and its curve, after a few steps of eight images a step over all processes."""
    method, feed = learner(name, changes={"bn_groups": 1} if name == "moco" else {})
    synchronised(method).double()  # so that a difference is one of arithmetic, not of rounding
    rows = fit(method, feed, OPTIM, num_steps=STEPS, seed=0, device=CPU, state=folder, save_seconds=1e9)
    curve = torch.tensor([[row["loss"], row["learning_rate"]] for row in rows])
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


def main(folder: Path) -> None:
    with dist.processes():
        assert dist.world() == 2
        for name in sorted(METHODS):
            state = trained(name, folder)
            # All ranks end alike, banks and queues too.
            for tensor in state.values():
                both = dist.gather(tensor.flatten()[None].float())
                assert torch.equal(both[0], both[1]), name
            if dist.rank() == 0:
                save_file(state, folder / f"{name}.safetensors")
        found = gradients()
        if dist.rank() == 0:
            save_file(found, folder / "gradients.safetensors")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
