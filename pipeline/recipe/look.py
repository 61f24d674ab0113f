"""What the images of a folder are, told from a sample of their headers."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median_low

from pipeline.base.errors import SourceError
from pipeline.ingest.files import Found
from pipeline.shards.decode import BadImage, probe, read_file

MOST = 300  # images that are looked at


@dataclass(frozen=True)
class Pictures:
    """How many images there are; of a sample, evenly spaced by name, the readable ones, and what these are."""

    count: int
    sample: Sequence[Path]
    grey: bool  # all of them
    side: int  # pixels; the median of their longer sides

    @classmethod
    def look(cls, folder: Path, found: Found) -> "Pictures":
        """Of what was found below the folder. Raises SourceError where no image of it can be read."""
        files = [*found.images]
        spaced = [files[len(files) * i // MOST] for i in range(MOST)] if len(files) > MOST else files
        facts = {}
        for file in spaced:
            try:
                facts[file] = probe(read_file(file), whole=False)
            except BadImage:  # ingest will name it
                continue
        if not facts:
            raise SourceError(f"{folder}: expected pictures, found none among {len(files)} files")
        grey = all(one.grey for one in facts.values())
        return cls(len(files), [*facts], grey, median_low(max(one.size) for one in facts.values()))

    def __str__(self) -> str:
        return f"{self.count:,} images {'in grey' if self.grey else 'in colour'}, as a rule {self.side} pixels long"
