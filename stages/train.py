"""Train a classifier on the few labels and all the other images."""

import logging
from contextlib import nullcontext
from pathlib import Path

import click
import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from pipeline.artifacts.curve import write_rows
from pipeline.artifacts.labels import Classes, Labels
from pipeline.artifacts.predictions import PseudoLabels
from pipeline.artifacts.shards import Index, Manifest
from pipeline.base import rng
from pipeline.base.files import sha256, whole_folder
from pipeline.base.params import Params
from pipeline.base.scratch import scratch
from pipeline.fit import fit
from pipeline.nn.classifier import AT_ONCE, Classifier, read_backbone, untrained
from pipeline.nn.cost import cheaper
from pipeline.nn.device import Device, channels_last
from pipeline.nn.norm import synchronised
from pipeline.parallel import dist
from pipeline.shards.remote.download import Reading
from pipeline.train.methods import METHODS, learner
from pipeline.train.pixels import Decoded, Pixels, of_all, training_images
from pipeline.train.targets import Targets
from pipeline.train.task import Task, TrainParams
from stages.cli import DATA, command, save_seconds_option, write_log

log = logging.getLogger(__name__)


@command(__doc__)
@click.option("--ingest", type=click.Path(path_type=Path), default=DATA / "ingest", show_default=True)
@click.option("--labels", type=click.Path(path_type=Path), default=DATA / "label" / "labels.csv", show_default=True)
@click.option("--backbone", type=click.Path(path_type=Path), default=DATA / "pretrain", show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default=DATA / "train", show_default=True)
@save_seconds_option
def main(params: Params, ingest: Path, labels: Path, backbone: Path, out: Path, save_seconds: float) -> None:
    """See the module's docstring, which is the command's help."""
    method = params.method("train.method", METHODS)
    block = params.block(f"train.{method}", METHODS[method].Params)
    common, reading = params.stage("train", TrainParams, METHODS), params.block("reading", Reading)
    with dist.processes():
        first = dist.rank() == 0
        manifest, index = Manifest.read(ingest / "manifest.json"), Index.read(ingest / "index.parquet", "train")
        targets = Targets.match(Labels.read(labels), Classes.read(ingest / "classes.json"), index.key)
        if first:
            tell(targets, method)
        torch.manual_seed(rng.number(params.seed, "train", "init"))
        body = read_backbone(backbone) if common.start == "pretrained" else untrained(read_backbone(backbone))
        device = Device.choose(common.precision)
        resident = common.resident_mb, common.window_shards
        with training_images(manifest, index, targets.rows, *resident, device.device, reading) as images:
            task = Task(targets, len(images), manifest.size, common, params.seed)
            trained = channels_last(learner(method, body, task, block).to(device.device))
            if common.start == "pretrained":
                trained.start(images)
            dist.as_first(trained)
            if common.sync_bn:
                trained = synchronised(trained, "train")
            cheaper(trained, compiled=common.compile, recompute=common.recompute)
            feed = trained.feed(images)
            num_images = common.steps * feed(0).num_images * dist.world()
            inputs = [ingest / "manifest.json", ingest / "index.parquet", labels]
            inputs += [backbone / "backbone.safetensors", backbone / "backbone.json", *trained.files]
            ingredients = {
                "params": [params.seed, common.model_dump(), block.model_dump(), device.about()],
                "inputs": [targets.names, *map(sha256, inputs)],
            }
            # The first process locks, saves and writes; the others only take up what it saved.
            with dist.first_enters(scratch(out.parent / "scratch", "train", ingredients)) as state:
                about = {"images": num_images, "streamed": isinstance(images, Decoded), **device.about()}
                with write_log(out.parent, "train", about) if first else nullcontext():
                    rows = fit(
                        trained,
                        feed,
                        common.optim,
                        num_steps=common.steps,
                        seed=params.seed,
                        device=device,
                        state=state,
                        save_seconds=save_seconds,
                    )
                model = trained.result(images)
                dist.as_first(model)
                sure, guess = guesses(model, images)
                if first:
                    with whole_folder(out) as part:
                        about = {"method": method, "unreached": targets.unreached, "labels_sha256": sha256(labels)}
                        model.write(part, about)
                        write_rows(part / "curve.csv", rows)
                        rest = sorted(set(range(len(index.key))) - set(targets.finest().rows.tolist()))
                        names = [model.classes[i] for i in guess[rest].tolist()]
                        keys = [index.key[i] for i in rest]
                        PseudoLabels(keys, names, sure[rest].double().numpy()).write(part / "pseudo_labels.csv")


def tell(targets: Targets, method: str) -> None:
    """Says what is odd about the labels."""
    if targets.unreached:
        log.info("no label for %d classes: %s", len(targets.unreached), ", ".join(targets.unreached))
    if len(targets.classes) - len(targets.unreached) == 1:
        log.info("all labels are of one class: the model will know no other")
    coarse = int((targets.labels[:, 0] < 0).sum())
    if coarse and not METHODS[method].every_level:
        log.info("%d images have a coarse label only, of which %s makes no use", coarse, method)


def guesses(model: Classifier, images: Pixels) -> tuple[Float[Tensor, " n"], Int64[Tensor, " n"]]:
    """How sure the model is of each image's class, and which it is."""

    def work(pixels: UInt8[Tensor, "b c h w"]) -> Float[Tensor, "b 2"]:
        sure, guess = model.probabilities(pixels, AT_ONCE)["label"].max(dim=1)
        return torch.stack([sure, guess.float()], dim=1)

    sure, guess = of_all(images, 2, work).cpu().unbind(dim=1)
    return sure, guess.long()


if __name__ == "__main__":
    main()
