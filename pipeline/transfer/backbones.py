"""The rows of the table: backbones from a run, torchvision, timm, a package or a file, or with random weights."""

import json
from dataclasses import dataclass
from pathlib import Path

import torch

from pipeline.base.errors import ParamsError
from pipeline.base.files import sha256
from pipeline.base.params import Params, near
from pipeline.base.records import digest_of
from pipeline.nn.backbones import BACKBONES, try_size
from pipeline.nn.classifier import read_backbone
from pipeline.pretrain import packaged
from pipeline.pretrain.recipe import Recipe
from pipeline.pretrain.run import run as pretrain
from pipeline.pretrain.weights import TORCHVISION, fill
from pipeline.transfer.image_sets import ImageSet, named

COLOUR = 3  # channels that weights from elsewhere are for
KINDS = ("packaged[:MODEL]", "random:BACKBONE", "torchvision:BACKBONE", "timm:MODEL", "file:BACKBONE:PATH")


@dataclass(frozen=True)
class Start:
    """A backbone by what the user typed: a folder that `pretrain` wrote, or values of the params that make one."""

    name: str
    folder: Path | None
    sets: tuple[str, ...]
    channels: int | None  # None: those of the images
    side: int | None  # pixels that the network sees; None: those of the images

    @classmethod
    def parse(cls, option: str) -> "Start":
        """From `[NAME=]WHAT[@SIDE]`; WHAT is one of KINDS, a run, or a folder with backbone.safetensors."""
        name, text = named("backbone", option)
        text, at, digits = text.rpartition("@") if "@" in text else (text, "", "")
        if at and not (digits.isdecimal() and int(digits) > 0):
            raise ParamsError(f"--backbone {option}: expected pixels after @, such as @96, got {digits!r}")
        side, path = int(digits) if digits else None, Path(text)
        for folder in (path / "data/pretrain", path):
            if (folder / "backbone.safetensors").is_file():
                name = name if "=" in option else f"{path.resolve().name}{at}{digits}"
                return cls(name, folder, (), int(read_backbone(folder).about["channels"]), side)
        if path.is_dir():
            raise ParamsError(f"--backbone {option}: expected a run or a folder with backbone.safetensors, found none")
        return cls(name, None, *_sets(option, text), side)

    @property
    def untrained(self) -> bool:
        """Whether its weights are random ones."""
        return "pretrain.none.weights=random" in self.sets

    def size(self, images: ImageSet) -> tuple[int, int]:
        """Height and width at which the network sees the images."""
        return (self.side, self.side) if self.side else images.manifest.size

    def channels_of(self, images: ImageSet) -> int:
        """How many channels it sees."""
        return self.channels or images.manifest.channels

    def check(self, params: Params, images: ImageSet) -> None:
        """Raises ParamsError or ArtifactError where there are no weights, or none for images of this kind."""
        if self.folder is not None:
            try_size(read_backbone(self.folder), self.size(images))
            return
        recipe = Recipe.read(params.with_values(*self.sets))
        blank = torch.zeros(1, self.channels_of(images), *self.size(images), dtype=torch.uint8)
        assert recipe.weights is not None, "method none always has weights"
        fill(recipe.backbone(blank), recipe.weights.weights, recipe.weights.file)

    def digest(self, params: Params) -> str:
        """Differs between different weights; those of a name are taken to stay."""
        if self.folder is not None:
            return digest_of(sha256(self.folder / "backbone.safetensors"), self.side)
        params = params.with_values(*self.sets)
        file = Path(params.lookup("pretrain.none.file"))
        options = params.lookup(f"pretrain.backbones.{params.lookup('pretrain.backbone')}")
        return digest_of(self.sets, options, self.side, params.seed, file.is_file() and sha256(file))

    def made(self, params: Params, ingest: Path, out: Path) -> Path:
        """The folder with its weights, written to `out` where they are not in one: `pretrain` with method none."""
        if self.folder is not None:
            return self.folder
        if not (out / "backbone.safetensors").is_file():
            pretrain(params.with_values(*self.sets), ingest, out, save_seconds=1e9)
        return out


def _sets(option: str, text: str) -> tuple[tuple[str, ...], int | None]:
    """The values that are laid over the params, and the channels."""
    weights, _, what = text.partition(":")
    arch, _, file = what.partition(":") if weights == "file" else (what, "", "")
    channels: int | None = COLOUR
    more: tuple[str, ...] = ()
    if weights == "packaged" and (what or packaged.MODEL) in packaged.DIGESTS:
        arch, more = "timm", (f"pretrain.backbones.timm.model={what or packaged.MODEL}",)
    elif weights == "timm" and what:
        arch, more = "timm", (f"pretrain.backbones.timm.model={what}",)
    elif weights == "torchvision" and what in TORCHVISION:
        more = tuple(f"pretrain.backbones.{what}.{key}={json.dumps(v)}" for key, v in TORCHVISION[what][1].items())
    elif weights == "random" and what in BACKBONES:
        channels = None
    elif weights == "file" and arch in BACKBONES and file:
        more = (f"pretrain.none.file={json.dumps(file)}",)
    else:
        names = {"packaged": tuple(packaged.DIGESTS), "torchvision": tuple(TORCHVISION)}
        names |= dict.fromkeys(("random", "file"), tuple(BACKBONES))
        known = names.get(weights, ())
        of = f"; {weights}: one of {', '.join(known)}{near(arch, known)}" if known else ""
        expected = f"a run, a folder with backbone.safetensors, {', '.join(KINDS)}"
        raise ParamsError(f"--backbone {option}: expected {expected}, got {text!r}{of}")
    common = ("pretrain.method=none", f"pretrain.backbone={arch}", f"pretrain.none.weights={weights}")
    return (*common, *more), channels
