"""What the tests of training methods share."""

import torch

from pipeline.fit import fit
from pipeline.nn.device import Device
from pipeline.train.methods import METHODS
from pipeline.train.pixels import Resident
from tests.digits import backbone, digits, task
from tests.method_values import OPTIM, SEMISUP_PARAMS

CPU = Device(torch.device("cpu"), bf16=False)
PIXELS = digits()[0][:300]
IMAGES = Resident(PIXELS)
ROWS = torch.arange(40)
HOWS = ["joint", "interleaved", "split"]


def logits(seed, count=40, classes=10):
    return 3 * torch.randn(count, classes, generator=torch.Generator().manual_seed(seed))


def confident(labels, height=20.0):
    """Logits that are all but certain of the class `labels[i]`."""
    return height * torch.eye(10)[labels]


def unlabelled_loss(name, labels=None, align_momentum=0.9, warm_averages=True, **changes):
    """The unlabelled loss of FixMatch or a variation at the finest level, of both views' logits."""
    params = METHODS[name].Params(**{**SEMISUP_PARAMS[name], **changes})
    of = task(labels=labels, align_momentum=align_momentum, warm_averages=warm_averages)
    loss = METHODS[name].Unlabelled(params, of.finest(), 0)
    loss.register_forward_pre_hook(lambda _, args: (args[0].softmax(dim=1), *args[1:]))
    return loss


def pretrained():
    """A random backbone whose running statistics are those of the digits, as pretraining leaves them."""
    net = backbone()
    with torch.no_grad():
        for _ in range(40):
            net(PIXELS)
    return net


def state_of(module):
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def changed(module, before):
    """The names of the tensors that differ from an earlier `state_of`, batch norm's count of batches aside."""
    now = module.state_dict()
    names = [name for name in now if not name.endswith("num_batches_tracked")]
    return {name for name in names if not torch.equal(now[name], before[name])}


def loss(method, batch, seed=0):
    torch.manual_seed(seed)
    return method.loss(batch)


def trained(method, feed, state, steps):
    """The curve of a training."""
    state.mkdir(exist_ok=True)
    return fit(method, feed, OPTIM, num_steps=steps, seed=0, device=CPU, state=state, save_seconds=1e9)


def finite(tensors):
    return all(tensor.isfinite().all() for tensor in tensors)
