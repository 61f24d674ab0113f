"""Get labels for the picks: from the answers that came with the images, or from a person.

Labels of finished rounds (data/rounds) join those of the picks.
"""

import logging
from pathlib import Path

import click

from pipeline.artifacts.labels import Classes, Labels, Sources, level_names
from pipeline.artifacts.picks import Selection
from pipeline.artifacts.rounds import joined, read_rounds
from pipeline.artifacts.shards import Index, Manifest
from pipeline.base.errors import ArtifactError, SourceError
from pipeline.base.files import whole_folder
from pipeline.base.params import Params
from pipeline.label.run import (
    LABELLERS,
    TEMPLATE,
    FileParams,
    LabelParams,
    look_up,
    of_picks,
    offer_template,
    orphans,
    read_labels,
    render,
    some,
    wanted_levels,
    without_label,
)
from pipeline.shards.remote.download import Reading
from stages.cli import DATA, command

log = logging.getLogger(__name__)


@command(__doc__)
@click.option("--ingest", type=click.Path(path_type=Path), default=DATA / "ingest", show_default=True)
@click.option("--select", type=click.Path(path_type=Path), default=DATA / "select", show_default=True)
@click.option("--rounds", type=click.Path(path_type=Path), default=DATA / "rounds", show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default=DATA / "label", show_default=True)
def main(params: Params, ingest: Path, select: Path, rounds: Path, out: Path) -> None:
    """See the module's docstring, which is the command's help."""
    source = params.method("label.source", LABELLERS)
    common = params.stage("label", LabelParams, LABELLERS)
    block = params.block(f"label.{source}", LABELLERS[source])
    picks = Selection.read(select / "picks.csv").keys
    own = common.own_levels(len(picks))
    manifest, index = Manifest.read(ingest / "manifest.json"), Index.read(ingest / "index.parquet", "train")
    sources, classes = Sources.read(ingest / "sources.csv"), Classes.read(ingest / "classes.json")
    strange = sorted(set(picks) - set(index.key))
    if strange:
        where = f"{select / 'picks.csv'}: key {strange[0]}"
        raise ArtifactError(f"{where}: expected a training image of {ingest}, got one that is not there")
    file = Path(block.path) if isinstance(block, FileParams) else None
    answers = Labels.read(ingest / "answers.csv")
    if file is None:
        labels = look_up(picks, own, answers, ingest / "answers.csv")
    else:
        levels = wanted_levels(answers.levels, classes, own, ingest / "classes.json")
        labels = read_labels(file, index.key, classes, levels) if file.is_file() else Labels(levels, {})
    without = without_label(picks, own, labels)
    with whole_folder(out, spare=("labels.csv",)) as part:
        shown = render(picks, own, manifest, index, sources, classes, labels, params.block("reading", Reading))
        (part / "page.html").write_text(shown, encoding="utf-8")
        if not without:
            before = read_rounds(rounds)
            # A round's file may have other columns; a level of it that is known nowhere else has its usual name.
            usual = [level for level in level_names(len(before.levels)) if level in before.levels]
            known = list(dict.fromkeys((*labels.levels, *usual)))
            whole = joined(before, of_picks(labels, picks), levels=known)
            whole.completed(out / "labels.csv").write(part / "labels.csv")
    if file is not None and without:
        coarse = len(picks) - own.count(0)
        least = f" (for the last {coarse} at least one in the column {levels[1]})" if coarse else ""
        template = file.with_name(TEMPLATE)
        others = offer_template(template, picks, sources, labels)
        why = f"{others} labels of its own are filled in" if others > 0 else "it is no table with a column label"
        kept = f" (kept as it is: {why})" if others else ""
        found = f"got none for {len(without)} of them, such as {without[0]}" if file.is_file() else "found no file"
        raise SourceError(
            f"{file}: expected labels for the {len(picks)} picks in {select / 'picks.csv'}{least}, {found}; "
            f"type them into {out / 'page.html'}, or fill in {template}{kept}, and save as {file}"
        )
    told = of_picks(whole, picks)
    coarse = sum(not names[0] for names in told.rows.values())
    click.echo(f"{source}: {len(picks)} labels" + (f", {coarse} of them coarse" if coarse else ""))
    alone = orphans(told) if max(own, default=0) else []
    if alone:
        log.warning("no row says which %s is above %s: write it once for each class", told.levels[1], some(alone))


if __name__ == "__main__":
    main()
