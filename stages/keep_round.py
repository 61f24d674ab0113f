"""Finish a round: keep its labels and metrics in data/rounds, and the trained model's features of all training images.

Picks without a label are left out. After it `dvc repro` selects the next images: never one of those kept or marked,
and with those kept in view. The methods margin, entropy, badge, uherding and dropquery read the model's outputs. A
model of train.method nncsl or paws is copied to data/previous, where nncsl goes on from it. Labels that were there
before the first round go by hand into data/rounds/00/labels.csv (columns key,label).
"""

from pathlib import Path

import click

from pipeline.base.machine import Machine
from pipeline.base.params import Params
from pipeline.base.typed import here
from pipeline.embed.run import EmbedParams
from pipeline.keep_round import keep_round
from stages.cli import DATA, command


@command(__doc__)
@click.option("--ingest", type=click.Path(path_type=Path), default=DATA / "ingest", show_default=True)
@click.option("--select", type=click.Path(path_type=Path), default=DATA / "select", show_default=True)
@click.option("--labels", type=click.Path(path_type=Path), default=DATA / "label/labels.csv", show_default=True)
@click.option("--model", type=click.Path(path_type=Path), default=DATA / "train", show_default=True)
@click.option("--metrics", type=click.Path(path_type=Path), default=DATA / "evaluate/metrics.json", show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default=DATA / "rounds", show_default=True)
@click.option("--previous", type=click.Path(path_type=Path), default=DATA / "previous", show_default=True)
@click.option("--pretrain", type=click.Path(path_type=Path), default=DATA / "pretrain", show_default=True)
def main(params: Params, **paths: Path) -> None:
    block, machine = params.stage("embed", EmbedParams), params.block("machine", Machine)
    again = here().again
    file, count = keep_round(**paths, params=block, machine=machine, again=again)
    click.echo(f"{file}: {count} labels; `{again}` goes on with the next round")


if __name__ == "__main__":
    main()
