"""Turn every image into one unit vector, with the pretrained backbone."""

from contextlib import nullcontext
from pathlib import Path

import click

from pipeline.artifacts.shards import Index, Manifest
from pipeline.base.files import sha256, whole_folder
from pipeline.base.params import Params
from pipeline.base.scratch import scratch
from pipeline.embed.run import EmbedParams, embed_split, join
from pipeline.nn.classifier import read_backbone
from pipeline.nn.device import Device
from pipeline.parallel import dist
from pipeline.shards.remote.download import Reading
from stages.cli import DATA, command, write_log


@command(__doc__)
@click.option("--ingest", type=click.Path(path_type=Path), default=DATA / "ingest", show_default=True)
@click.option("--backbone", type=click.Path(path_type=Path), default=DATA / "pretrain", show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default=DATA / "embed", show_default=True)
def main(params: Params, ingest: Path, backbone: Path, out: Path) -> None:
    """See the module's docstring, which is the command's help."""
    block, reading = params.stage("embed", EmbedParams), params.block("reading", Reading)
    with dist.processes():
        manifest, index = Manifest.read(ingest / "manifest.json"), Index.read(ingest / "index.parquet")
        device = Device.choose(block.precision)
        net = read_backbone(backbone).to(device.device).eval()
        inputs = [ingest / name for name in ("manifest.json", "index.parquet")]
        inputs += [backbone / name for name in ("backbone.safetensors", "backbone.json")]
        # Another number of processes may take up what these have done.
        machine = {name: value for name, value in device.about().items() if name != "processes"}
        ingredients = {"params": [block.model_dump(), machine], "inputs": [sha256(file) for file in inputs]}
        count = sum(manifest.count(split) for split in manifest.splits)
        with dist.first_enters(scratch(out.parent / "scratch", "embed", ingredients)) as parts:
            log, whole = write_log(out.parent, "embed", {"images": count, **device.about()}), whole_folder(out)
            first = dist.rank() == 0
            with log if first else nullcontext(), whole if first else nullcontext() as folder:
                for split in sorted(manifest.splits):
                    files = embed_split(net, manifest, index, split, block, device, parts, reading=reading)
                    if folder is not None:
                        (folder / split).mkdir()
                        join(files, manifest, index, split, folder / split)


if __name__ == "__main__":
    main()
