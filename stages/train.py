"""Train a classifier on the few labels and all the other images."""

import logging
from pathlib import Path

import click
import torch

from pipeline import rng
from pipeline.artifacts import Classes, Index, Labels, Manifest, PseudoLabels, write_rows
from pipeline.data.reader import load
from pipeline.files import sha256, whole_folder
from pipeline.fit import fit
from pipeline.nn.classifier import AT_ONCE, read_backbone, untrained
from pipeline.nn.cost import cheaper
from pipeline.nn.device import Device, channels_last
from pipeline.params import Params
from pipeline.scratch import scratch
from pipeline.semisup import METHODS, learner
from pipeline.semisup.targets import Targets
from pipeline.semisup.task import Task, TrainParams
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
    common = params.stage("train", TrainParams, METHODS)
    manifest = Manifest.read(ingest / "manifest.json")
    images = load(manifest, Index.read(ingest / "index.parquet", "train"), "train", "train")
    targets = Targets.match(Labels.read(labels), Classes.read(ingest / "classes.json"), images.keys)
    if targets.unreached:
        log.info("no label for %d classes: %s", len(targets.unreached), ", ".join(targets.unreached))
    if len(targets.classes) - len(targets.unreached) == 1:
        log.info("all labels are of one class: the model will know no other")
    coarse = int((targets.labels[:, 0] < 0).sum())
    if coarse and not METHODS[method].every_level:
        log.info("%d images have a coarse label only, of which %s makes no use", coarse, method)
    torch.manual_seed(rng.number(params.seed, "train", "init"))
    body = read_backbone(backbone) if common.start == "pretrained" else untrained(read_backbone(backbone))
    device = Device.choose(common.precision)
    task = Task(targets, len(images.keys), manifest.size, common, params.seed)
    trained = channels_last(learner(method, body, task, block).to(device.device))
    cheaper(trained, compiled=common.compile, recompute=common.recompute)
    pixels = images.pixels.to(device.device)
    if common.start == "pretrained":
        trained.start(pixels)
    feed = trained.feed(pixels)
    num_images = feed(0).num_images
    inputs = [ingest / "manifest.json", ingest / "index.parquet", labels]
    inputs += [backbone / "backbone.safetensors", backbone / "backbone.json", *trained.files]
    ingredients = {
        "params": [params.seed, common.model_dump(), block.model_dump(), device.about()],
        "inputs": [targets.names, *map(sha256, inputs)],
    }
    with scratch(out.parent / "scratch", "train", ingredients) as state:
        with write_log(out.parent, "train", {"images": common.steps * num_images, **device.about()}):
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
        model = trained.result(pixels)
        with whole_folder(out) as part:
            model.write(part, {"method": method, "unreached": targets.unreached, "labels_sha256": sha256(labels)})
            write_rows(part / "curve.csv", rows)
            rest = sorted(set(range(len(images.keys))) - set(targets.finest().rows.tolist()))
            sure, guess = model.probabilities(pixels, AT_ONCE)["label"][rest].max(dim=1)
            names = [model.classes[i] for i in guess.tolist()]
            PseudoLabels([images.keys[i] for i in rest], names, sure.double().numpy()).write(part / "pseudo_labels.csv")


if __name__ == "__main__":
    main()
