"""Turn every image into one unit vector, with the pretrained backbone."""

from pathlib import Path

import click

from pipeline.artifacts import Index, Manifest
from pipeline.embed import EmbedParams, embed_split
from pipeline.files import sha256, whole_folder
from pipeline.nn.classifier import read_backbone
from pipeline.nn.device import Device
from pipeline.params import Params
from pipeline.scratch import scratch
from stages.cli import DATA, command, write_log


@command(__doc__)
@click.option("--ingest", type=click.Path(path_type=Path), default=DATA / "ingest", show_default=True)
@click.option("--backbone", type=click.Path(path_type=Path), default=DATA / "pretrain", show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default=DATA / "embed", show_default=True)
def main(params: Params, ingest: Path, backbone: Path, out: Path) -> None:
    """See the module's docstring, which is the command's help."""
    block = params.stage("embed", EmbedParams)
    manifest, index = Manifest.read(ingest / "manifest.json"), Index.read(ingest / "index.parquet")
    device = Device.choose(block.precision)
    net = read_backbone(backbone).to(device.device).eval()
    inputs = (
        ingest / "manifest.json",
        ingest / "index.parquet",
        backbone / "backbone.safetensors",
        backbone / "backbone.json",
    )
    ingredients = {"params": [block.model_dump(), device.about()], "inputs": [sha256(file) for file in inputs]}
    count = sum(manifest.count(split) for split in manifest.splits)
    with (
        scratch(out.parent / "scratch", "embed", ingredients) as parts,
        write_log(out.parent, "embed", {"images": count, **device.about()}),
        whole_folder(out) as whole,
    ):
        for split in sorted(manifest.splits):
            (whole / split).mkdir()
            vectors = embed_split(net, manifest, index, split, block, device, parts)
            vectors.write(whole / split)


if __name__ == "__main__":
    main()
