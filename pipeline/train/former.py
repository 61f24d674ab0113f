"""Going on from a model that an earlier training left."""

from pathlib import Path

from torch import Tensor

from pipeline.base.errors import ArtifactError
from pipeline.nn.classifier import Classifier


def tensors(net: Classifier, parts: tuple[str, ...]) -> dict[str, Tensor]:
    """Those of some parts of a network, by name; `parts` are what their names begin with."""
    return {name: x for name, x in net.state_dict().items() if name.startswith(parts)}


def require_same(former: Classifier, like: Classifier, parts: tuple[str, ...], folder: Path, what: str) -> None:
    """Raises ArtifactError unless `like` can take over these parts and both see images of one size.

    `folder` is where the former model lies, `what` says in words which parts are meant.
    """
    wanted, found = ({name: [*x.shape] for name, x in tensors(net, parts).items()} for net in (like, former))
    odd = sorted(name for name in {*wanted, *found} if wanted.get(name) != found.get(name))
    if odd or former.size != like.size:
        got = f"{odd[0]}: {wanted.get(odd[0])}, got {found.get(odd[0])}" if odd else f"{like.size}, got {former.size}"
        raise ArtifactError(f"{folder}: expected the {what} and image size of this training, {got}")
