"""Write the trained model as one file that runs without this code: .onnx for any runtime, .pt2 for torch.

It takes uint8 images [batch, channels, height, width] of the model's size and gives the probability of each class. The
file is run once and compared with the model. docs/guide/using.md has an example of ten lines.
"""

from pathlib import Path

import click

from pipeline.nn.classifier import Classifier
from pipeline.nn.exported import export
from stages.cli import DATA, one_line_errors, path_option


@click.command(help=__doc__)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="A file that ends in .onnx or .pt2.")
@path_option("--model", DATA / "train")
def main(out: Path, model: Path) -> None:
    with one_line_errors():
        net = Classifier.read(model)
        error = export(net, out)
        mb = out.stat().st_size / 1e6
        click.echo(f"{out}: {len(net.classes)} classes, {mb:.1f} MB, probabilities as the model's within {error:.1g}")


if __name__ == "__main__":
    main()
