"""`dvc repro`, started from the label page: what it does, and what came of it."""

import asyncio
import os
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.label.marks import STILL

STAGE = re.compile(r"Running stage '(\w+)'")  # of DVC's lines that alone is for the person
DOES = {"ingest": "reading the images", "pretrain": "learning from the images", "embed": "describing the images",
        "graph": "comparing the images", "select": "choosing images", "label": "reading labels", "train": "training",
        "evaluate": "measuring", "report": "writing the report"}  # fmt: skip
RIGHT = re.compile(r"of (the|the unlabelled|\d+ test) images are right")  # in the last line of `evaluate`
COLOURS = re.compile(r"\x1b\[[0-9;]*m")
LONGEST_LINE = 1 << 24  # bytes


@dataclass
class Chain:
    """`dvc repro` in this folder, as it goes on in the background; `say` is told each line that is new."""

    say: Callable[[str], None]
    state: str = "idle"  # running, done, asks for more labels, failed
    line: str = ""  # what it does, its figure when it is done, how many labels it needs, or what is wrong
    task: asyncio.Task[None] | None = field(default=None, repr=False)

    def start(self) -> None:
        """Runs the chain, unless it runs already."""
        if self.state != "running":
            self._tell("running", "the chain starts")
            self.task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "dvc", "repro"),
            env={**os.environ, "PATH": path},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            limit=LONGEST_LINE,
        )
        wrong = last = figure = still = ""
        assert process.stdout is not None
        async for data in process.stdout:
            line = COLOURS.sub("", data.decode(errors="replace")).rstrip().rpartition("\r")[2]
            wrong = line.removeprefix("Error: ") if line.startswith("Error: ") else wrong
            last = line or last
            if stage := STAGE.match(line):
                self._tell("running", _step(stage[1]))
            if RIGHT.search(line):
                figure = line.partition(";")[0]
            if line.startswith(STILL):
                still = f"To go on, label {line.removeprefix(STILL)}. Then press Finish again."
        if not await process.wait():
            self._tell("done", f"done: {figure}" if figure else "done")
        else:
            self._tell(*(("asks", still) if still else ("failed", wrong or last)))

    def _tell(self, state: str, line: str) -> None:
        self.state, self.line = state, line
        self.say(line)


def _step(stage: str) -> str:
    """What a stage does, and which of all it is."""
    return f"{DOES[stage]} ({[*DOES].index(stage) + 1} of {len(DOES)})" if stage in DOES else stage
