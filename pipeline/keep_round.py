"""Keeps a finished round: its labels, and the trained model's features of all training images."""

import tempfile
from pathlib import Path

from pipeline.artifacts.embeddings import Embeddings
from pipeline.artifacts.labels import Labels
from pipeline.artifacts.model_outputs import OUTPUTS, ModelOutputs
from pipeline.artifacts.picks import Selection
from pipeline.artifacts.rounds import next_number, next_round
from pipeline.artifacts.shards import Index, Manifest
from pipeline.artifacts.skipped import NOT_USABLE, Skipped, read_missing
from pipeline.base.errors import ArtifactError
from pipeline.base.files import read_json, sha256
from pipeline.base.machine import Machine
from pipeline.embed.run import EmbedParams, embed_split
from pipeline.embed.tables import join
from pipeline.nn.classifier import Classifier
from pipeline.nn.device import Device


def keep_round(
    ingest: Path, select: Path, labels: Path, model: Path, out: Path, params: EmbedParams, machine: Machine
) -> tuple[Path, int]:
    """Writes the next round below `out`: the file with its labels, and their number.

    Picks without a label are left out; one that is not usable is not picked again. Raises ArtifactError unless the
    model was trained on these labels.
    """
    missing = labels.with_name("missing.csv")
    for needed in (labels, missing, model / "model.json"):
        if not needed.is_file():
            raise ArtifactError(f"{needed}: expected what a finished `dvc repro` leaves, found none")
    file, new = next_round(out, Labels.read(labels), Selection.read(select / "picks.csv").keys)
    if read_json(model / "model.json").get("labels_sha256") != sha256(labels):
        raise ArtifactError(
            f"{model}: expected a model trained on {labels} as it is now, got another; `dvc repro` first"
        )
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
    ModelOutputs(features, weight, bias).write(out / OUTPUTS)
    unusable = {key: why for key, why in read_missing(missing).items() if why == NOT_USABLE}
    if unusable:
        Skipped.read(out).and_(unusable, next_number(out)).write(out)
    new.write(file)  # last: if anything before fails, the round is not kept, and the command may run again
    return file, len(new.rows)
