"""Asks for other picks in place of those that a person skipped, or found not usable or of no class."""

from pathlib import Path

from pipeline.artifacts.rounds import next_number
from pipeline.artifacts.skipped import FILE, MARKED, Skipped, read_missing
from pipeline.base.errors import ArtifactError


def replace_picks(missing: Path, rounds: Path) -> tuple[Path, int]:
    """Notes the picks of `missing.csv` that are marked, as a request to select; the file, and how many are new in it.

    Raises ArtifactError where there are none.
    """
    if not missing.is_file():
        raise ArtifactError(f"{missing}: expected what `dvc repro label` leaves, found none")
    marked = {key: why for key, why in read_missing(missing).items() if why in MARKED}
    before = Skipped.read(rounds)
    after = before.and_(marked, next_number(rounds))
    count = len(after.keys) - len(before.keys)
    if count == 0:
        raise ArtifactError(
            f"{missing}: expected picks that are marked [skip], [none] or [unusable], and not replaced yet, found "
            "none; `dvc repro label` reads the labels first"
        )
    after.write(rounds)
    return rounds / FILE, count
