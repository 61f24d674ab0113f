"""The work of a stage that several processes may share and that goes on after an interruption."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from pipeline.base.files import sha256, whole_folder
from pipeline.base.log import write_log
from pipeline.base.scratch import scratch
from pipeline.parallel import dist


@contextmanager
def resumable(
    stage: str, out: Path, *, params: Any, inputs: Sequence[Path], log: Mapping[str, Any]
) -> Iterator[tuple[Path, Path | None]]:
    """Yields (state, folder): where to save what is done, and a folder to fill that becomes `out` when the block ends.

    `state` is the same for the same params, input files and code, and no other process works on it meanwhile; it is
    removed when the block ends well. Of several processes rank 0 alone has a folder, and writes the log.
    """
    ingredients = {"params": params, "inputs": [sha256(file) for file in inputs]}
    with dist.first_enters(scratch(out.parent / "scratch", stage, ingredients)) as state, ExitStack() as stack:
        if dist.rank() > 0:
            yield state, None
            return
        stack.enter_context(write_log(out.parent, stage, log))
        yield state, stack.enter_context(whole_folder(out))
