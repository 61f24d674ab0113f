"""How long each stage took: from `data/logs`, which stages write and DVC does not watch.

dvc.lock holds no times, and files have the time at which DVC checked them out. A stage that DVC took from its cache ran
elsewhere or earlier: its log, if it is there, is of the last time that it ran here, and the page says so. The stage
`report` does not depend on the logs: a time that changes alone is no reason for a new page.
"""

from dataclasses import dataclass
from pathlib import Path

from pipeline.base.errors import ArtifactError
from pipeline.base.files import read_json
from pipeline.base.params import STAGES


@dataclass(frozen=True)
class Time:
    """What a stage took: the seconds of its work without the start of Python; the rest may not be known."""

    stage: str
    seconds: float
    speed: float | None  # images a second
    peak_mb: float | None
    device: str


def read_times(logs: Path) -> list[Time]:
    """Those of the stages that have a log, in the order of the chain. Raises ArtifactError where one has no seconds."""
    found = []
    for stage in STAGES:
        file = logs / f"{stage}.json"
        if file.is_file():
            about = read_json(file)
            if not isinstance(about.get("seconds"), int | float):
                raise ArtifactError(f"{file}: expected seconds, a number, got {about.get('seconds')}")
            device = about.get("device", "")
            found.append(
                Time(stage, about["seconds"], about.get("images_per_second"), about.get("peak_mb"), str(device))
            )
    return found


def spoken(seconds: float) -> str:
    """0.21 as `0.2 s`, 88.8 as `1 min 29 s`, 7300 as `2 h 2 min`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60} min"
