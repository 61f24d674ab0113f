"""What the user asks for, read and checked before anything is computed: backbones and sets of images."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.base.params import Params
from pipeline.transfer.backbones import Start
from pipeline.transfer.image_sets import ImageSet, named, refuse_twice


@dataclass(frozen=True)
class Asked:
    """The rows and the columns of a table, by their names."""

    starts: Mapping[str, Start]
    sets: Mapping[str, ImageSet]

    @classmethod
    def read(
        cls,
        params: Params,
        backbones: Sequence[str],
        data: Sequence[str],
        out: Path,
        most: int,
        refuse: Callable[[ImageSet], None],
    ) -> "Asked":
        """Of a set at most `most` images of a split; `refuse` raises where too few are left for what is measured.

        Raises PipelineError for what is no backbone or set, a name that is there twice, and a pair that does not fit.
        """
        starts = [Start.parse(option) for option in backbones]
        refuse_twice("backbone", [start.name for start in starts])
        refuse_twice("data", [named("data", option)[0] for option in data])
        sets = [ImageSet.read(option, params, out, most) for option in data]
        for images in sets:
            refuse(images)
            for start in starts:
                start.check(params, images)
        return cls({start.name: start for start in starts}, {images.name: images for images in sets})

    def pair(self, backbone: str, data: str) -> tuple[Start, ImageSet]:
        """A row and a column."""
        return self.starts[backbone], self.sets[data]
