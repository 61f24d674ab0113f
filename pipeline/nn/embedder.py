"""Images to unit vectors that join several views of them: what a network sees, at its end and before, pixels and edges.

Each view is centred by itself, and counts by its weight: the square root of it scales the view's unit vector.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from pipeline.artifacts.model import Weights, read_tensors
from pipeline.base.errors import ArtifactError
from pipeline.base.files import read_json
from pipeline.nn.arrays import from_arrays, to_arrays
from pipeline.nn.backbones import Backbone
from pipeline.nn.centre import Centre, unit
from pipeline.nn.hog import hog

SIDE = 16  # of the pooled pixels, at most
BACKBONE, INTERMEDIATE = "backbone", "intermediate"


def pixels(images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b r"]:
    """All channels, each pixel the mean of an area."""
    return F.adaptive_avg_pool2d(images, (min(SIDE, images.shape[2]), min(SIDE, images.shape[3]))).flatten(1)


PLAIN: dict[str, Callable[[Tensor], Tensor]] = {"pixels": pixels, "hog": hog}  # views that need no network
Images = Float[Tensor, "b c h w"] | UInt8[Tensor, "b c h w"]


def look(backbone: Backbone, others: Sequence[str], images: Images) -> Float[Tensor, "b r"]:
    """The backbone's features, beside them other views by the names in `widths`; images as a backbone takes them.

    What the network gives is of unit length, plain views are as they are.
    """
    images = images.float() / 255 if images.dtype == torch.uint8 else images
    within = any(name.startswith(INTERMEDIATE) for name in others)
    features, means = backbone.with_intermediate(images) if within else (backbone(images), [])
    first = F.normalize(features.to(images.dtype), dim=1)
    with torch.autocast(images.device.type, enabled=False):
        stages = {name: F.normalize(mean.to(images.dtype), dim=1) for name, mean in _by_stage(means).items()}
        return torch.cat([first, *(stages[name] if name in stages else PLAIN[name](images) for name in others)], dim=1)


@torch.no_grad()
def widths(backbone: Backbone, views: Sequence[str], image: tuple[int, int, int]) -> dict[str, int]:
    """How many numbers each view has for images of the shape (channels, height, width).

    `intermediate` becomes a view for each stage that the network gives, from the image on, or none.
    """
    blank = torch.zeros(1, *image, device=backbone.mean.device)
    found: dict[str, int] = {}
    for name in views:
        if name == INTERMEDIATE:
            found |= {stage: mean.shape[1] for stage, mean in _by_stage(backbone.with_intermediate(blank)[1]).items()}
        else:
            found[name] = backbone.dim if name == BACKBONE else PLAIN[name](blank).shape[1]
    return found


def _by_stage(means: Sequence[Tensor]) -> dict[str, Tensor]:
    return {f"{INTERMEDIATE}{number}": mean for number, mean in enumerate(means, 1)}


@dataclass(frozen=True)
class View:
    """A view of `raw` numbers that gives `dim` columns; `agreement` with the backbone's neighbours gave the weight."""

    name: str
    raw: int
    dim: int
    weight: float
    agreement: float


class Embedder(nn.Module):
    """A backbone and the constants of all views that count; it takes images as the backbone does.

    The backbone is the first view. Views of weight 0 stand in the description alone: they have no columns.
    """

    def __init__(self, backbone: Backbone, views: Sequence[View]) -> None:
        super().__init__()
        self.about: dict[str, Any] = {
            "backbone": backbone.about,
            "channels": backbone.about["channels"],
            "views": [asdict(view) for view in views],
        }
        self.backbone = backbone
        self.views = [view for view in views if view.weight > 0]
        self.centres = nn.ModuleDict({view.name: Centre(view.raw, view.dim) for view in self.views})
        self.dim = sum(view.dim for view in self.views)

    def raw(self, images: Images) -> Float[Tensor, "b r"]:
        """What is seen, side by side: the backbone's features of unit length, and the other views (`look`)."""
        return look(self.backbone, [view.name for view in self.views[1:]], images)

    def weighed(self, raw: Float[Tensor, "b r"]) -> Float[Tensor, "b d"]:
        """The centred unit vectors of the views, each times the square root of its weight; in float32."""
        with torch.autocast(raw.device.type, enabled=False):
            parts = zip(self.views, raw.split([view.raw for view in self.views], dim=1), strict=True)
            return torch.cat([self.centres[view.name](part) * view.weight**0.5 for view, part in parts], dim=1)

    def project(self, raw: Float[Tensor, "b r"]) -> Float[Tensor, "b d"]:
        """Unit vectors; zeros where all views are their means."""
        return unit(self.weighed(raw))

    def forward(self, images: Images) -> Float[Tensor, "b d"]:
        """Unit vectors of images."""
        return self.project(self.raw(images))

    def write(self, folder: Path, extra: Mapping[str, Any] | None = None) -> None:
        """Writes embedder.safetensors, the views' constants, and embedder.json; `extra` joins the JSON."""
        Weights(to_arrays(self.centres), {**self.about, **(extra or {})}).write(folder, "embedder")

    @classmethod
    def read(cls, folder: Path, backbone: Backbone) -> "Embedder":
        """What `embed` wrote, around the backbone that it had, in eval mode. Raises ArtifactError for another one."""
        files = folder / "embedder.json", folder / "embedder.safetensors"
        about, arrays = read_json(files[0]), read_tensors(files[1])
        try:
            own, embedder = about["backbone"], cls(backbone, [View(**view) for view in about["views"]])
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise ArtifactError(f"{files[0]}: expected what embed wrote, got: {error!r}") from error
        if own != json.loads(json.dumps(backbone.about)):
            raise ArtifactError(f"{files[0]}: expected the views of a backbone {backbone.about}, got those of {own}")
        from_arrays(embedder.centres, Weights(arrays, about), files[1])
        return embedder.eval()
