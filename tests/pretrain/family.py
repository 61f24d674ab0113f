"""What the tests of all self-supervised methods share."""

import threading
from pathlib import Path

import torch
import torch.nn.functional as F

from pipeline.fit import fit
from pipeline.nn.device import Device
from pipeline.parallel import dist
from tests.method_values import OPTIM

CPU = Device(torch.device("cpu"), bf16=False)


def unit(*shape, seed):
    """Random unit vectors."""
    return F.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


def seeded_loss(method, views, seed=0):
    torch.manual_seed(seed)
    return method.loss(views)


def trained(method, batch_at, folder: Path, num_steps, optim=OPTIM, save_seconds=1e9):
    return fit(
        method, batch_at, optim, num_steps=num_steps, seed=0, device=CPU, state=folder, save_seconds=save_seconds
    )


def on_two_ranks(work, monkeypatch):
    """What work(0) and work(1) return. Two threads stand for the processes: each waits for the other's tensors.

    Both draw the same random numbers, as processes of one seed do. Gradients pass through what is gathered and summed.
    """
    meeting, met, results = threading.Barrier(2, timeout=10), [None, None], [None, None]
    chance = [torch.Generator().manual_seed(0) for _ in range(2)]

    def rank():
        return int(threading.current_thread().name)

    def exchanged(x):
        met[rank()] = x
        meeting.wait()
        both = list(met)
        meeting.wait()
        return both

    def copied(net):
        for tensor in net.state_dict().values():
            tensor.copy_(exchanged(tensor.clone())[0])

    def drawn(draw):
        return lambda *shape, generator=None: draw(*shape, generator=generator or chance[rank()])

    def run(number):
        results[number] = work(number)

    with monkeypatch.context() as patched:
        patched.setattr(dist, "world", lambda: 2)
        patched.setattr(dist, "rank", rank)
        patched.setattr(dist, "gather", lambda x: torch.cat(exchanged(x)))
        patched.setattr(dist, "total", lambda x: torch.stack(exchanged(x)).sum(0))
        patched.setattr(dist, "as_first", copied)
        for name in ("rand", "randint", "randn", "randperm"):
            patched.setattr(torch, name, drawn(getattr(torch, name)))
        threads = [threading.Thread(target=run, args=(number,), name=str(number)) for number in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return results
