"""Where an interrupted stage finds its state: a folder named by a digest of all that determines the result."""

import hashlib
import json
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from pipeline.base.errors import TrainingError


@contextmanager
def scratch(root: Path, stage: str, ingredients: Mapping[str, Any]) -> Iterator[Path]:
    """A folder `<stage>-<digest>` that no other process uses. It is removed if the block ends well, and kept otherwise.

    The digest covers `ingredients` (params and digests of input files, as JSON) and the loaded code: a changed
    parameter, input or source line starts anew. The lock is the stage's, not the digest's, for two processes that
    differ in a parameter would still write the same output. A process that died holds no lock.
    """
    with alone(root, stage):
        text = json.dumps([ingredients, code()], sort_keys=True, default=str)
        folder = root / f"{stage}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"
        folder.mkdir(exist_ok=True)
        yield folder
        shutil.rmtree(folder)


@contextmanager
def alone(root: Path, stage: str) -> Iterator[None]:
    """Holds the lock of a stage. Raises TrainingError if another process holds it."""
    root.mkdir(parents=True, exist_ok=True)
    try:
        held = FileLock(root / f"{stage}.lock").acquire(timeout=0)
    except Timeout as error:
        message = f"{root / stage}.lock: expected no other {stage} to run here, found one that holds the lock"
        raise TrainingError(message) from error
    with held:
        yield


def code() -> dict[str, str]:
    """Digests of the modules of this repository that are loaded, the command itself among them, and torch's version."""
    own = ("pipeline", "stages", "__main__")
    files = {n: getattr(m, "__file__", None) for n, m in sys.modules.items() if n.split(".")[0] in own}
    digests = {name: hashlib.sha256(Path(file).read_bytes()).hexdigest() for name, file in files.items() if file}
    torch = sys.modules.get("torch")
    return {**digests, "torch": str(getattr(torch, "__version__", None))}
