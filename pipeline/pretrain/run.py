"""The stage `pretrain`: learn a backbone from the training images, without labels."""

from pathlib import Path

from torch import nn

from pipeline.artifacts.curve import write_rows
from pipeline.artifacts.model import Weights
from pipeline.artifacts.shards import Index, Manifest
from pipeline.base.params import Params
from pipeline.fit import fit
from pipeline.nn.arrays import to_arrays
from pipeline.nn.compute import reduce_cost
from pipeline.nn.device import Device
from pipeline.nn.mlp import described, flat
from pipeline.parallel import dist
from pipeline.parallel.work import resumable
from pipeline.pretrain.method import AddOn, CollapseWarning, SelfSupervised
from pipeline.pretrain.methods.none import NoneParams
from pipeline.pretrain.recipe import Recipe
from pipeline.pretrain.streamed import sample
from pipeline.pretrain.weights import fill
from pipeline.shards.reader import load

NORMALISED_BY = 10_000  # images that mean and deviation are taken from, where not all are in memory


def run(params: Params, ingest: Path, out: Path, save_seconds: float) -> None:
    """Writes `backbone` and `head`, a safetensors and a json file each, and `curve.csv`; an interrupted run goes on."""
    recipe = Recipe.read(params)
    common, machine = recipe.common, recipe.machine
    files = [ingest / "manifest.json", ingest / "index.parquet", *recipe.block.files]
    with dist.processes():
        manifest, index = Manifest.read(files[0]), Index.read(files[1], "train")
        streamed = recipe.streams(manifest)
        if streamed:
            pixels = sample(
                manifest, index, "train", NORMALISED_BY, params.seed, machine.reading, machine.window_shards
            )
        else:
            pixels = load(manifest, index, "train", "pretrain", machine.reading).pixels
        backbone = recipe.backbone(pixels)
        device = Device.choose(machine.precision)
        method: SelfSupervised | AddOn | None = None
        if recipe.weights is not None:
            fill(backbone, recipe.weights.weights, recipe.weights.file)
            backbone.freeze(recipe.weights.frozen)
            if recipe.weights.weights == "file":
                files.append(Path(recipe.weights.file))
        if not isinstance(recipe.block, NoneParams):
            pixels = pixels if streamed else pixels.to(device.device)  # once, for the method, the batches and the end
            method = recipe.learner(
                backbone, manifest.count("train"), manifest.size, device, None if streamed else pixels
            )
            reduce_cost(method, compiled=machine.compile, recompute=machine.recompute)
        used = common, recipe.block, recipe.weights, *recipe.tasks.values()
        blocks = [block.model_dump() for block in used if block is not None]
        values = params.seed, blocks, backbone.about, device.about(), streamed
        log = {"images": common.steps * common.batch_size, "streamed": streamed} if method else {}
        with resumable("pretrain", out, params=values, inputs=files, log={**log, **device.about()}) as (state, folder):
            rows: list[dict[str, float]] = []
            if method is not None:
                with recipe.feed(manifest, index, None if streamed else pixels, device) as feed:
                    rows = fit(
                        method,
                        feed,
                        common.optim,
                        num_steps=common.steps,
                        seed=params.seed,
                        device=device,
                        state=state,
                        save_seconds=save_seconds,
                        watch=CollapseWarning(common.steps),
                    )
                recipe.finish(backbone, pixels, device)
            if folder is not None:
                named = {common.method: recipe.block, "none": recipe.weights, **recipe.tasks}
                own = {name: block.model_dump() for name, block in named.items() if block is not None}
                about = {
                    "backbone": backbone.about,
                    "method": common.method,
                    "params": {**common.model_dump(), **own} if method else own,  # no common value counts without one
                    "size": list(manifest.size),
                }
                Weights(to_arrays(backbone), about).write(folder, "backbone")
                head = flat(method.projector if method is not None else nn.Sequential())
                Weights(to_arrays(head), {"layers": described(head)}).write(folder, "head")
                write_rows(folder / "curve.csv", rows)
