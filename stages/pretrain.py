"""Learn a backbone from the training images, without labels."""

from contextlib import nullcontext
from pathlib import Path

import click
from torch import nn

from pipeline.artifacts.curve import write_rows
from pipeline.artifacts.model import Weights
from pipeline.artifacts.shards import Index, Manifest
from pipeline.base.files import sha256, whole_folder
from pipeline.base.params import Params
from pipeline.base.scratch import scratch
from pipeline.fit import fit
from pipeline.nn.classifier import to_arrays
from pipeline.nn.cost import cheaper
from pipeline.nn.device import Device
from pipeline.parallel import dist
from pipeline.pretrain.methods.none import NoneParams
from pipeline.pretrain.recipe import Recipe
from pipeline.pretrain.streamed import sample
from pipeline.pretrain.watch import Watch
from pipeline.pretrain.weights import fill
from pipeline.shards.reader import load
from pipeline.shards.remote.download import Reading
from stages.cli import DATA, command, save_seconds_option, write_log

SAMPLE = 10_000  # images that the normalisation is taken from where not all are in memory


@command(__doc__)
@click.option("--ingest", type=click.Path(path_type=Path), default=DATA / "ingest", show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default=DATA / "pretrain", show_default=True)
@save_seconds_option
def main(params: Params, ingest: Path, out: Path, save_seconds: float) -> None:
    """See the module's docstring, which is the command's help."""
    recipe = Recipe.read(params)
    common, reading = recipe.common, params.block("reading", Reading)
    with dist.processes():
        first = dist.rank() == 0
        manifest = Manifest.read(ingest / "manifest.json")
        index = Index.read(ingest / "index.parquet", "train")
        streamed = recipe.streams(manifest)
        if streamed:
            pixels = sample(manifest, index, "train", SAMPLE, params.seed, reading, common.window_shards)
        else:
            pixels = load(manifest, index, "train", "pretrain", reading).pixels
        backbone = recipe.backbone(pixels)
        device = Device.choose(common.precision)
        learner: nn.Module | None = None
        if isinstance(recipe.block, NoneParams):
            fill(backbone, recipe.block)
        else:
            learner = recipe.learner(backbone, manifest.count("train"), manifest.size, device)
            cheaper(learner, compiled=common.compile, recompute=common.recompute)
        values = params.seed, common.model_dump(), recipe.block.model_dump(), backbone.about, device.about(), streamed
        files = ingest / "manifest.json", ingest / "index.parquet"
        ingredients = {"params": values, "inputs": [sha256(file) for file in files]}
        # The first process locks, saves and writes; the others only take up what it saved.
        with dist.first_enters(scratch(out.parent / "scratch", "pretrain", ingredients)) as state:
            rows: list[dict[str, float]] = []
            if learner is not None:
                about = {"images": common.steps * common.batch_size, "streamed": streamed, **device.about()}
                log = write_log(out.parent, "pretrain", about) if first else nullcontext()
                with recipe.feed(manifest, index, None if streamed else pixels, device, reading) as feed, log:
                    rows = fit(
                        learner,
                        feed,
                        common.optim,
                        num_steps=common.steps,
                        seed=params.seed,
                        device=device,
                        state=state,
                        save_seconds=save_seconds,
                        watch=Watch(common.steps),
                    )
            if first:
                with whole_folder(out) as part:
                    net = {"backbone": backbone.about, "method": common.method, "size": list(manifest.size)}
                    Weights(to_arrays(backbone), net).write(part, "backbone")
                    write_rows(part / "curve.csv", rows)


if __name__ == "__main__":
    main()
