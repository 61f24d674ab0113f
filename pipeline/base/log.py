"""What a stage's run took: `data/logs/<stage>.json`, which nothing depends on."""

import resource
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline.base.files import write_json


@contextmanager
def write_log(data: Path, stage: str, about: Mapping[str, Any]) -> Iterator[None]:
    """Writes `logs/<stage>.json` when the block ends well: its seconds, images a second, peak memory, and `about`."""
    started = time.perf_counter()
    yield
    seconds = time.perf_counter() - started
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    speed = {"images_per_second": round(about["images"] / seconds, 1)} if "images" in about else {}
    record = {"seconds": round(seconds, 2), "peak_mb": round(peak_mb), **speed, **about}
    write_json(data / "logs" / f"{stage}.json", record)
