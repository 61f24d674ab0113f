"""Keeps a finished round: its labels and metrics, the trained model's features of all training images, and what it
predicts for them.
"""

import shutil
import tempfile
from pathlib import Path
from typing import Any

from pipeline.artifacts.embeddings import Embeddings
from pipeline.artifacts.labels import Labels
from pipeline.artifacts.model_outputs import OUTPUTS, PREDICTED, TESTED, ModelOutputs
from pipeline.artifacts.picks import Selection
from pipeline.artifacts.rounds import METRICS, next_number, round_to_keep
from pipeline.artifacts.settings import FILE as PARAMS
from pipeline.artifacts.settings import read_records, settings
from pipeline.artifacts.shards import Index, Manifest
from pipeline.artifacts.skipped import MARKED, Skipped, read_missing
from pipeline.base.errors import ArtifactError
from pipeline.base.files import read_json, sha256, whole_file, whole_folder, write_json
from pipeline.base.machine import Machine
from pipeline.embed.run import EmbedParams, embed_split
from pipeline.embed.tables import join
from pipeline.evaluate.metrics import finest
from pipeline.nn.classifier import Classifier
from pipeline.nn.device import Device
from pipeline.nn.heads import Nearest


def keep_round(
    ingest: Path,
    select: Path,
    labels: Path,
    model: Path,
    metrics: Path,
    out: Path,
    previous: Path,
    pretrain: Path,
    params: EmbedParams,
    machine: Machine,
    again: str,
) -> tuple[Path, int]:
    """Writes the next round below `out`: the file with its labels, and their number.

    Picks without a label are left out; one with a mark in its place is not picked again. A copy of `metrics`,
    where there is such a file, and the params that the round was made with lie beside the labels, for the report to
    compare rounds. Raises ArtifactError unless the model was trained on these labels and the metrics are of as many. A
    model that nncsl can go on from is copied to `previous`. `again` is what a person types to go on with the run.
    """
    missing = labels.with_name("missing.csv")
    for needed in (labels, missing, model / "model.json"):
        if not needed.is_file():
            raise ArtifactError(f"{needed}: expected what a finished `{again}` leaves, found none")
    file, new = round_to_keep(out, Labels.read(labels), Selection.read(select / "picks.csv").keys, again)
    if read_json(model / "model.json").get("labels_sha256") != sha256(labels):
        raise ArtifactError(f"{model}: expected a model trained on {labels} as it is now, got another; `{again}` first")
    measured = _metrics(metrics, len(finest(Labels.read(labels))), again)
    made_with = settings(read_records(pretrain, select, model))
    manifest, index = Manifest.read(ingest / "manifest.json"), Index.read(ingest / "index.parquet")
    device = Device.choose(machine.precision)
    net = Classifier.read(model).to(device.device).eval()
    with tempfile.TemporaryDirectory() as folder:
        parts, reading, batch_size = Path(folder), machine.reading, net.images_a_pass(params.batch_size)
        files = embed_split(
            net.backbone, manifest, index, "train", batch_size, device, parts, unit=False, reading=reading
        )
        join(files, manifest, index, "train", parts)
        features = Embeddings.read(parts)
    weight, bias = (part.detach().numpy() for part in net.head.cpu().linear())
    found = read_json(model / "model.json").get("discovered", [])
    ModelOutputs(features, weight, bias, found).write(out / OUTPUTS)
    for predicted in (model / PREDICTED, metrics.with_name(TESTED)):
        if predicted.is_file():
            with whole_file(out / OUTPUTS / predicted.name) as copy:
                shutil.copyfile(predicted, copy)
    if isinstance(net.head, Nearest):
        with whole_folder(previous) as part:
            for name in ("model.json", "model.safetensors"):
                shutil.copyfile(model / name, part / name)
            (part / ".gitkeep").touch()  # the folder is in git, the model is not
    marked = {key: why for key, why in read_missing(missing).items() if why in MARKED}
    if marked:
        Skipped.read(out).and_(marked, next_number(out)).write(out)
    with whole_folder(file.parent) as part:  # last: if anything fails, the round is not kept, and one may try again
        new.write(part / file.name, by_key=False)  # in the order of picks: classes keep their keys on the page
        write_json(part / PARAMS, made_with)
        if measured:
            write_json(part / METRICS, measured)
    return file, len(new.rows)


def _metrics(file: Path, num_labels: int, again: str) -> dict[str, Any]:
    if not file.is_file():
        return {}
    values = read_json(file)
    if values.get("n_labels") != num_labels:
        raise ArtifactError(
            f"{file}: expected metrics of the {num_labels} labels, got those of {values.get('n_labels')}; "
            f"`{again}` first"
        )
    return values
