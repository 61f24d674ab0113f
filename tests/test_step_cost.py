"""What a training step asks of a device, counted where there is none: few operations, and none that waits for it."""

from collections import Counter

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from pipeline.nn.device import Device
from tests.digits import METHODS, learner, task
from tests.method_values import CONTRASTIVE, OPTIM
from tests.pretrain.family import trained

MOST = 500  # operations that compute, of a step with its views; on a GPU each is a kernel that Python has to start
# Above it by what their losses compute: 30 rounds of a fixed point, mixes, centres both ways, a bank beside a queue,
# passes of a former model, three times BYOL's passes.
ALLOWED = {"mira": 553, "mochi": 551, "ncc": 635, "interclr": 541, "nncsl": 712, "orl": 1418}
USUAL = {"moco": {"bn_groups": 1}}  # params.yaml's, as is a view of `train` without blur
VIEW = CONTRASTIVE.model_copy(update={"blur_prob": 0.0})
WAITS = ("_local_scalar_dense", "nonzero", "masked_select", "is_nonzero", "equal.default")
FREE = {
    f"aten.{name}"
    for name in (
        "view.default", "_unsafe_view.default", "reshape.default", "t.default", "transpose.int", "permute.default",
        "expand.default", "detach.default", "alias.default", "select.int", "slice.Tensor", "unsqueeze.default",
        "squeeze.dim", "unbind.int", "split.Tensor", "split_with_sizes.default", "as_strided.default",
        "empty.memory_format", "empty_like.default", "new_empty.default", "lift_fresh.default",
    )
}  # fmt: skip


class Counted(TorchDispatchMode):
    """Counts operations by name; one that picks by a mask waits too, as only the device knows how many it picks."""

    def __init__(self):
        super().__init__()
        self.computed, self.waited = Counter(), Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = str(func)
        masks = name.startswith(("aten.index", "aten._index")) and any(
            isinstance(index, torch.Tensor) and index.dtype == torch.bool
            for group in args
            if isinstance(group, list)
            for index in group
        )
        self.waited[name] += masks or any(part in name for part in WAITS)
        self.computed[name] += name not in FREE
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("name", METHODS)
def test_a_step_is_few_operations_and_none_waits(name):
    method, feed = learner(name, channels=3, changes=USUAL.get(name, {}), of=task(view=VIEW))
    method.train()
    optimiser = OPTIM.optimiser(method)

    def step(number):
        method.progress = number / 5
        method.loss(feed(number)).loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        method.after_step(number + 1, 5)

    for number in range(4):
        step(number)
    with Counted() as counted:
        step(4)
    assert +counted.waited == Counter()
    assert counted.computed.total() <= ALLOWED.get(name, MOST), counted.computed.most_common(9)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("name", METHODS)
def test_a_step_on_a_gpu_waits_for_nothing(name, tmp_path):
    method, feed = learner(name, channels=3)
    device = Device.choose("auto").device
    trained(method.to(device), feed, tmp_path, 1)
    torch.cuda.set_sync_debug_mode("error")
    try:
        method.loss(feed(1)).loss.backward()
    finally:
        torch.cuda.set_sync_debug_mode("default")
