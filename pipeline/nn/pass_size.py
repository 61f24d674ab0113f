"""How many images a pass without gradient takes at once: memory stays bounded whatever the network and the size."""

from math import prod

import torch
from torch import Tensor, nn

BUDGET = {"cpu": 2**29, "cuda": 2**32}  # bytes beyond the weights; more is no faster on a CPU
ALIVE = 6  # times the largest activation is what lives at once, scratch of convolutions too: 3 to 8 on our networks


@torch.no_grad()
def images_a_pass(net: nn.Module, image: tuple[int, ...], most: int) -> int:
    """At most `most` images of the shape (channels, height, width): as many as fit into the budget, one at least.

    One blank image goes through the network in eval mode, and the largest output of a layer is what counts.
    """
    blank = torch.zeros(1, *image, device=next(net.parameters()).device)
    largest = [4 * prod(image)]

    def note(_: nn.Module, __: object, out: object) -> None:
        largest.append(out.nbytes if isinstance(out, Tensor) else 0)

    hooks = [module.register_forward_hook(note) for module in net.modules() if not any(True for _ in module.children())]
    training = net.training
    try:
        net.eval().forward(blank)  # by its name: torch.compile would make a kernel for one image
    finally:
        net.train(training)
        for hook in hooks:
            hook.remove()
    return max(1, min(most, BUDGET[blank.device.type] // (ALIVE * max(largest))))
