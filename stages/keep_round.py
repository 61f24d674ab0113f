"""Finish a round: keep its labels in data/rounds, and what the trained model makes of all training images.

After it `dvc repro` selects the next images: never one of those kept, and with those in view. The methods margin,
entropy, badge, uherding and dropquery read the model's outputs. Labels that were there before the first round go by
hand into data/rounds/00/labels.csv (columns key,label).
"""

import tempfile
from pathlib import Path

import click

from pipeline.artifacts.embeddings import Embeddings
from pipeline.artifacts.labels import Labels
from pipeline.artifacts.model_outputs import OUTPUTS, ModelOutputs
from pipeline.artifacts.picks import Selection
from pipeline.artifacts.rounds import next_round
from pipeline.artifacts.shards import Index, Manifest
from pipeline.base.errors import ArtifactError
from pipeline.base.files import read_json, sha256
from pipeline.base.params import Params
from pipeline.embed.run import EmbedParams, embed_split, join
from pipeline.nn.classifier import Classifier
from pipeline.nn.device import Device
from pipeline.shards.remote.download import Reading
from stages.cli import DATA, command


@command(__doc__)
@click.option("--ingest", type=click.Path(path_type=Path), default=DATA / "ingest", show_default=True)
@click.option("--select", type=click.Path(path_type=Path), default=DATA / "select", show_default=True)
@click.option("--labels", type=click.Path(path_type=Path), default=DATA / "label/labels.csv", show_default=True)
@click.option("--model", type=click.Path(path_type=Path), default=DATA / "train", show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default=DATA / "rounds", show_default=True)
def main(params: Params, ingest: Path, select: Path, labels: Path, model: Path, out: Path) -> None:
    """See the module's docstring, which is the command's help."""
    block, reading = params.stage("embed", EmbedParams), params.block("reading", Reading)
    for needed in (labels, model / "model.json"):
        if not needed.is_file():
            raise ArtifactError(f"{needed}: expected what a finished `dvc repro` leaves, found none")
    picks, given = Selection.read(select / "picks.csv").keys, Labels.read(labels)
    home, new = next_round(out, given, picks)
    trained_on = read_json(model / "model.json").get("labels_sha256")
    if trained_on != sha256(labels):
        raise ArtifactError(
            f"{model}: expected a model trained on {labels} as it is now, got another; `dvc repro` first"
        )
    manifest, index = Manifest.read(ingest / "manifest.json"), Index.read(ingest / "index.parquet")
    device = Device.choose(block.precision)
    net = Classifier.read(model).to(device.device).eval()
    with tempfile.TemporaryDirectory() as parts:
        files = embed_split(
            net.backbone, manifest, index, "train", block, device, Path(parts), unit=False, reading=reading
        )
        join(files, manifest, index, "train", Path(parts))
        features = Embeddings.read(Path(parts))
    weight, bias = (part.detach().numpy() for part in net.head.cpu().linear())
    ModelOutputs(features, weight, bias).write(out / OUTPUTS)
    new.write(home)  # last: if anything before fails, the round is not kept, and the command may run again
    click.echo(f"{home}: {len(new.rows)} labels; `dvc repro` goes on with the next round")


if __name__ == "__main__":
    main()
