"""Learn a backbone from the training images, without labels."""

from pathlib import Path

import click
import torch

from pipeline import rng
from pipeline.artifacts import Index, Manifest, Weights, write_rows
from pipeline.data.reader import load
from pipeline.files import sha256, whole_folder
from pipeline.fit import fit
from pipeline.nn.backbones import BACKBONES, fresh
from pipeline.nn.classifier import to_arrays
from pipeline.nn.device import Device
from pipeline.params import Params
from pipeline.scratch import scratch
from pipeline.selfsup import METHODS, PretrainParams
from pipeline.selfsup.feed import TwoViews
from pipeline.selfsup.none import NoneParams, fill
from stages.cli import DATA, command, save_seconds_option, write_log


@command(__doc__)
@click.option("--ingest", type=click.Path(path_type=Path), default=DATA / "ingest", show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default=DATA / "pretrain", show_default=True)
@save_seconds_option
def main(params: Params, ingest: Path, out: Path, save_seconds: float) -> None:
    """See the module's docstring, which is the command's help."""
    method = params.method("pretrain.method", {**METHODS, "none": NoneParams})
    block = params.block(f"pretrain.{method}", METHODS[method].Params if method in METHODS else NoneParams)
    common = params.stage("pretrain", PretrainParams, {*METHODS, "none", "backbones"})
    name = params.method("pretrain.backbone", BACKBONES)
    options = params.block(f"pretrain.backbones.{name}", BACKBONES[name])
    manifest = Manifest.read(ingest / "manifest.json")
    pixels = load(manifest, Index.read(ingest / "index.parquet", "train"), "train", "pretrain").pixels
    torch.manual_seed(rng.number(params.seed, "pretrain", "init"))
    backbone = fresh(name, options, pixels)
    device = Device.choose(common.precision)
    ingredients = {
        "params": [params.seed, common.model_dump(), block.model_dump(), backbone.about, device.about()],
        "inputs": [sha256(ingest / file) for file in ("manifest.json", "index.parquet")],
    }
    with scratch(out.parent / "scratch", "pretrain", ingredients) as state:
        rows: list[dict[str, float]] = []
        if isinstance(block, NoneParams):
            fill(backbone, block)
        else:
            chance = torch.Generator().manual_seed(rng.number(params.seed, "pretrain", "method"))
            learner = METHODS[method](backbone, block, len(pixels), chance).to(device.device)
            feed = TwoViews(pixels.to(device.device), common.view, common.batch_size, params.seed)
            with write_log(out.parent, "pretrain", {"images": common.steps * common.batch_size, **device.about()}):
                rows = fit(
                    learner,
                    feed,
                    common.optim,
                    num_steps=common.steps,
                    seed=params.seed,
                    device=device,
                    state=state,
                    save_seconds=save_seconds,
                )
        with whole_folder(out) as part:
            about = {"backbone": backbone.about, "method": method, "size": list(manifest.size)}
            Weights(to_arrays(backbone), about).write(part, "backbone")
            write_rows(part / "curve.csv", rows)


if __name__ == "__main__":
    main()
