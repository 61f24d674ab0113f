"""Files of a DVC experiment or a git revision, without a checkout."""

from collections.abc import Sequence
from pathlib import Path

from dvc.api import DVCFileSystem
from dvc.exceptions import DvcException

from pipeline.base.errors import ArtifactError, first_line


def fetched(home: Path, revision: str, files: Sequence[str], folder: str, out: Path) -> Path:
    """Copies those of the `files`, and what lies in the `folder`, that the revision of a run has; `out`."""
    if not home.is_dir():
        raise ArtifactError(f"{home}: expected a run's folder, found none")
    try:
        there = DVCFileSystem(str(home), rev=revision)
        wanted = [*files, *(there.find(folder) if there.isdir(folder) else ())]
        for file in wanted:
            if there.isfile(file):
                target = out / file
                target.parent.mkdir(parents=True, exist_ok=True)
                there.get_file(file, str(target))
    except FileNotFoundError as error:
        raise ArtifactError(
            f"{home}@{revision}: expected its files in DVC's cache, got: {first_line(error)}; fetch them or run it"
        ) from error
    except DvcException as error:
        raise ArtifactError(
            f"{home}@{revision}: expected a run's experiment or revision, got: {first_line(error)}"
        ) from error
    return out
