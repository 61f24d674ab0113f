"""The picks that have no label yet, and the images of the audit, as a folder that a tool for labelling takes."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from pipeline.artifacts.audit import audit_keys
from pipeline.artifacts.labels import Classes, Sources
from pipeline.artifacts.picks import Selection
from pipeline.artifacts.predictions import PseudoLabels
from pipeline.artifacts.shards import Index, Manifest
from pipeline.base.errors import SourceError
from pipeline.base.files import whole_folder
from pipeline.base.machine import Reading
from pipeline.exchange.answers import Asked, Format
from pipeline.label.earlier import of_rounds
from pipeline.label.marks import SKIP, UNUSABLE
from pipeline.label.person import read_written
from pipeline.shards.decode import BadImage, normalise, probe
from pipeline.shards.pictures import files_of

MOST_SIDE = 4096  # pixels of a picture, at most


@dataclass(frozen=True)
class Chain:
    """The files of the chain that an export reads; those of rounds, guesses and labels may be missing."""

    ingest: Path
    select: Path
    rounds: Path
    guesses: Path  # pseudo_labels.csv
    labels: Path  # a person's


def export(chain: Chain, form: Format, out: Path, num_audit: int, reading: Reading) -> list[Asked]:
    """Writes the folder `out`, which must not be there; the images in it: the picks, best first, then the audit's.

    An image of the audit has no guess, which would sway the person whose labels measure the result.
    """
    if out.exists():
        raise SourceError(f"{out}: expected a folder that is not there, as labels may be in it; name another by --out")
    index, sources = Index.read(chain.ingest / "index.parquet", "train"), Sources.read(chain.ingest / "sources.csv")
    picks = Selection.read(chain.select / "picks.csv").keys
    index.rows_of(picks, str(chain.select / "picks.csv"), f"a training image of {chain.ingest}")
    answered = Classes.read(chain.ingest / "classes.json")
    earlier, classes = of_rounds(chain.rounds, index, sources, ["label"], answered)
    written = read_written(chain.labels, index, classes, ["label"], sources)
    audit = audit_keys(index.key, {*picks, *earlier.rows}, num_audit)
    done = {key for labels in (earlier, written) for key, names in labels.rows.items() if any(names)}
    wanted = [key for key in (*picks, *audit) if key not in done]
    if not wanted:
        raise SourceError(f"{chain.select / 'picks.csv'}: expected picks without a label, got {len(picks)} with one")
    guesses = _guesses(chain.guesses, {*wanted} - {*audit})
    manifest = Manifest.read(chain.ingest / "manifest.json")
    with whole_folder(out) as part:
        made: dict[str, Asked] = {}
        for key, shard, raw in files_of(manifest, index, wanted, reading):
            try:
                data, end = normalise(raw, manifest.channels, MOST_SIDE)
            except BadImage as error:
                raise SourceError(f"{shard}: expected the image {key}, got: {error}") from error
            about = sources.path.get(key, ""), sources.picture.get(key, ""), end, probe(data, whole=False).size
            made[key] = Asked(key, *about, *guesses.get(key, ("", 0.0)))
            file = part / form.place(made[key])
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(data)
        asked = [made[key] for key in wanted]
        named = {name for names in written.rows.values() for name in names} - {SKIP, UNUSABLE}
        form.write(part, asked, classes.union("label", named | {one.guess for one in asked}))
    return asked


def _guesses(file: Path, keys: Collection[str]) -> dict[str, tuple[str, float]]:
    """The most probable class of these images and its probability; none where the file is missing."""
    if not file.is_file():
        return {}
    pseudo = PseudoLabels.read(file)
    rows = zip(pseudo.keys, pseudo.ranking.best, pseudo.ranking.confidence.tolist(), strict=True)
    return {key: (name, confidence) for key, name, confidence in rows if name and key in keys}
