"""The picks that have no label yet, and the images of the audit, as a folder that a tool for labelling takes."""

import logging
from collections.abc import Collection, Mapping
from pathlib import Path
from unicodedata import category

from pipeline.artifacts.audit import audit_keys
from pipeline.artifacts.picks import Selection
from pipeline.artifacts.predictions import PseudoLabels
from pipeline.artifacts.rounds import Latest
from pipeline.artifacts.shards import Manifest
from pipeline.base.errors import SourceError
from pipeline.base.files import read_json, whole_folder
from pipeline.base.machine import Reading
from pipeline.exchange.answers import Asked, Format
from pipeline.exchange.known import Known
from pipeline.label.effort import CONFIRMED, LED
from pipeline.label.graph import Graph
from pipeline.label.marks import marked, without_marks
from pipeline.shards.decode import BadImage, normalise, probe
from pipeline.shards.pictures import files_of

log = logging.getLogger(__name__)
MOST_SIDE = 4096  # pixels of a picture, at most


def export(
    known: Known,
    ingest: Path,
    select: Path,
    pseudo: Path,
    graph: Graph,
    form: Format,
    out: Path,
    num_audit: int,
    reading: Reading,
) -> list[Asked]:
    """Writes the folder `out`, which must not be there; the images in it: the picks, best first, then the audit's.

    Guesses are those of `pseudo`, a file of pseudo-labels; where there is none, those of the label page, from the
    labels so far. An image of the audit has none: it would sway the person whose labels measure the result.
    """
    if out.exists():
        raise SourceError(f"{out}: expected a folder that is not there, as labels may be in it; name another by --out")
    picks = Selection.read(select / "picks.csv").keys
    replaced = {*known.skipped} & {*picks}
    if replaced:
        log.warning(
            "others are not picked yet in place of %d: `dvc repro` first, for the export to have them", len(replaced)
        )
    known.index.rows_of(picks, str(select / "picks.csv"), f"a training image of {ingest}")
    led = {key for key, effort in known.spent.items() if effort.how in LED}
    audit = audit_keys(known.index.key, {*picks, *known.earlier.rows, *led}, num_audit, known.audited)
    done = {key for labels in (known.earlier, known.written) for key, names in labels.rows.items() if any(names)}
    wanted = [key for key in (*picks, *audit) if key not in done]
    if not wanted:
        raise SourceError(f"{select / 'picks.csv'}: expected picks without a label, got {len(picks)} with one")
    guesses: Mapping[str, tuple[str, float]] = {}
    if pseudo.is_file():
        guesses = _guesses(pseudo, {*wanted} - {*audit})
    elif graph.graph.is_dir():  # not yet where the chain has gone to `select` alone
        labels = Latest.of(known.earlier, without_marks(known.written), marked(known.written)).labels.less(audit)
        confirmed = {key for key, effort in known.spent.items() if effort.how == CONFIRMED}
        guesses = graph.around(known.index, picks, labels, audit, confirmed).guesses.of
    classes = [*known.classes, *sorted({name for name, _ in guesses.values()} - {*known.classes})]
    for name in classes:
        if any(category(sign) == "Cc" for sign in name):
            raise SourceError(f"class {name!r}: expected a name without control signs, which other tools refuse")
    manifest = Manifest.read(ingest / "manifest.json")
    with whole_folder(out) as part:
        made: dict[str, Asked] = {}
        for key, shard, raw in files_of(manifest, known.index, wanted, reading):
            try:
                data, end, _ = normalise(raw, manifest.channels, MOST_SIDE)
            except BadImage as error:
                raise SourceError(f"{shard}: expected the image {key}, got: {error}") from error
            about = (
                known.sources.path.get(key, ""),
                known.sources.picture.get(key, ""),
                end,
                probe(data, whole=False).size,
            )
            made[key] = Asked(key, *about, *guesses.get(key, ("", 0.0)))
            file = part / form.place(made[key])
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(data)
        asked = [made[key] for key in wanted]
        form.write(part, asked, classes)
    return asked


def _guesses(file: Path, keys: Collection[str]) -> Mapping[str, tuple[str, float]]:
    """The most probable class of these images and its probability, less unnamed classes that the model found."""
    pseudo, about = PseudoLabels.read(file), file.with_name("model.json")
    new = read_json(about).get("discovered", []) if about.is_file() else []
    rows = zip(pseudo.keys, pseudo.ranking.best, pseudo.ranking.confidence.tolist(), strict=True)
    return {key: (name, confidence) for key, name, confidence in rows if name and name not in new and key in keys}
