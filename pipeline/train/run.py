"""The stage `train`: a classifier from the few labels and all the other images."""

import logging
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64, UInt8
from numpy import ndarray
from torch import Tensor

from pipeline.artifacts.curve import write_rows
from pipeline.artifacts.predictions import TOP, PseudoLabels, Ranking, top
from pipeline.base import rng
from pipeline.base.files import sha256
from pipeline.base.machine import Machine
from pipeline.base.params import Params
from pipeline.fit import fit
from pipeline.graph.propagation import PropagateParams
from pipeline.nn.classifier import Classifier, read_backbone, untrained
from pipeline.nn.compute import reduce_cost
from pipeline.nn.device import Device, channels_last
from pipeline.nn.norm import synchronised
from pipeline.parallel import dist
from pipeline.parallel.work import resumable
from pipeline.train.base_run import base_run
from pipeline.train.inputs import Inputs
from pipeline.train.methods import METHODS, PROPAGATE, Chosen, propagate
from pipeline.train.pixels import Pixels, for_all_images
from pipeline.train.spreading import Spreading
from pipeline.train.streamed import Streamed, training_images
from pipeline.train.targets import Targets
from pipeline.train.task import Task, TrainParams

log = logging.getLogger(__name__)


def run(
    params: Params, ingest: Path, labels: Path, backbone: Path, embed: Path, graph: Path, out: Path, save_seconds: float
) -> None:
    """Writes the model, its curve and pseudo-labels for all images without a label; goes on after an interruption."""
    common = params.stage("train", TrainParams, (*METHODS, PROPAGATE))
    block = params.block("train.propagate", PropagateParams)
    with dist.processes():
        given = Inputs.read(ingest, labels)
        if params.method("train.method", (*METHODS, PROPAGATE)) == PROPAGATE:
            if dist.rank() == 0:
                log_labels(given.targets, PROPAGATE, every_level=False)
            propagate.run(block, given, backbone, embed, graph, out)
        else:
            chosen = Chosen.read(params)
            common = chosen.settled(common, len(given.targets.finest().rows))
            spreading = Spreading.read(block, given, embed, graph) if common.graph else None
            train(params, chosen, common, given, spreading, backbone, out, save_seconds)


def train(
    params: Params,
    chosen: Chosen,
    common: TrainParams,
    given: Inputs,
    spreading: Spreading | None,
    backbone: Path,
    out: Path,
    save_seconds: float,
) -> None:
    """The same of a method that trains a network."""
    machine, targets = params.block("machine", Machine), given.targets
    if dist.rank() == 0:
        log_labels(targets, chosen.name, every_level=chosen.every_level)
    torch.manual_seed(rng.number(params.seed, "train", "init"))
    start = read_backbone(backbone, chosen.head_layer)
    start = start if common.start == "pretrained" else untrained(start)
    device = Device.choose(machine.precision)
    resident = machine.resident_mb, machine.window_shards
    ingested = given.manifest, given.index, targets.rows
    other = base_run(chosen.base_run, given.manifest, machine, device.device)
    with training_images(*ingested, *resident, device.device, machine.reading) as images, other as base:
        graph = spreading.targets(targets, device.device) if spreading else None
        task = Task(targets, len(images), given.manifest.size, common, params.seed, graph, base)
        method = channels_last(chosen.build(start, task).to(device.device))
        if common.start == "pretrained":
            method.start(images)
        dist.as_first(method)
        if common.sync_bn:
            method = synchronised(method, "train")
        reduce_cost(method, compiled=machine.compile, recompute=machine.recompute)
        feed = method.feed(images)
        num_images = common.steps * feed(0).num_images * dist.world()
        names = ("backbone", "head") if chosen.head_layer > 0 else ("backbone",)
        left = [f"{name}.{kind}" for name in names for kind in ("safetensors", "json")]
        inputs = [*given.files, *(backbone / name for name in left), *method.files]
        values = [params.seed, common.model_dump(), chosen.values, targets.names, device.about()]
        if spreading:
            inputs, values = [*inputs, *spreading.files], [*values, spreading.params.model_dump()]
        about = {"images": num_images, "streamed": isinstance(images, Streamed), **device.about()}
        with resumable("train", out, params=values, inputs=inputs, log=about) as (state, folder):
            rows = fit(
                method,
                feed,
                common.optim,
                num_steps=common.steps,
                seed=params.seed,
                device=device,
                state=state,
                save_seconds=save_seconds,
            )
            model = method.result(images)
            dist.as_first(model)
            numbers, p = predict(model, images)
            if folder is not None:
                facts = {
                    "method": chosen.name,
                    "unreached": targets.unlabelled_classes,
                    "discovered": [name for name in model.classes if name not in targets.classes],
                    "labels_sha256": sha256(given.labels),
                    "params": {**common.model_dump(), **chosen.values},
                }
                model.write(folder, facts)
                write_rows(folder / "curve.csv", rows)
                rest = np.setdiff1d(np.arange(len(given.index.key)), targets.finest().rows.numpy())
                found = Ranking.of(numbers[rest], p[rest], model.classes)
                PseudoLabels(given.index.keys_of(rest), found).write(folder / "pseudo_labels.csv")


def log_labels(targets: Targets, method: str, *, every_level: bool) -> None:
    """Logs what the user should know about the labels."""
    unlabelled = targets.unlabelled_classes
    if unlabelled:
        classes = "class" if len(unlabelled) == 1 else "classes"
        log.info("no label for %d %s: %s", len(unlabelled), classes, ", ".join(unlabelled))
    labelled = [name for name in targets.classes if name not in unlabelled]
    if len(labelled) == 1:
        log.info("all labels are of one class, %s: most methods give it to every image", *labelled)
    coarse = int((targets.labels[:, 0] < 0).sum())
    if coarse and not every_level:
        log.info("%d images have a coarse label only, which %s does not use", coarse, method)


def predict(model: Classifier, images: Pixels) -> tuple[Int64[ndarray, "n t"], Float32[ndarray, "n t"]]:
    """The finest classes that the model thinks most probable for each image, by number, and their probabilities."""
    batch_size = model.images_a_pass()

    def work(pixels: UInt8[Tensor, "b c h w"]) -> Float[Tensor, "b _"]:
        numbers, p = top(model.probabilities(pixels, batch_size)["label"].numpy())
        return torch.from_numpy(np.concatenate([numbers.astype(np.float32), p], axis=1))

    t = min(TOP, len(model.classes))
    numbers, p = np.split(for_all_images(images, batch_size, 2 * t, work).cpu().numpy(), 2, axis=1)
    return numbers.astype(np.int64), p
