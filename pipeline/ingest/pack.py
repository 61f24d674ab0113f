"""Images to new shards: several at once, and none twice after an interruption.

Which images a shard holds is known before any is read, so an image that turns out bad makes its own shard smaller and
moves no other. A finished tar gets a JSON note beside it, which is renamed into place last. The next run keeps a tar
whose note says that it was made of the same images in the same way.
"""

import hashlib
import json
import logging
import platform
import shutil
import tempfile
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import PIL

from pipeline.artifacts.shards import Shard
from pipeline.base.errors import ArtifactError, SourceError
from pipeline.base.files import read_json, sha256, whole_file, whole_folder
from pipeline.base.scratch import code
from pipeline.ingest.encoded import Encoded, encoded
from pipeline.ingest.progress import Progress
from pipeline.ingest.source import Item, Span
from pipeline.ingest.split import SPLITS
from pipeline.ingest.tars import Row, write_tar
from pipeline.parallel.cluster import map_on_cluster
from pipeline.parallel.cores import cores
from pipeline.parallel.processes import Processes
from pipeline.parallel.threads import map_in_order
from pipeline.shards.decode import BadImage

log = logging.getLogger(__name__)

CHUNK = 16  # images that a process is asked for at a time
SPECK = 8  # pixels: an image whose longer side has fewer is a dot that a tracker left
FEW = 2_000  # images: fewer are done in threads before processes have started

Size = tuple[int, int]  # height, width
Image = str | np.ndarray  # the name of a file, or pixels
Encode = Callable[[Sequence[Image]], Sequence[Encoded | BadImage]]
Run = Callable[[Iterable[Sequence[Image]]], Iterator[Sequence[Encoded | BadImage]]]


@dataclass(frozen=True)
class Plan:
    """A shard to be: the name of its tar and its images in the order of their keys, those that will be bad included."""

    name: str
    split: str
    items: Mapping[str, Item]


@dataclass(frozen=True)
class Packed:
    """A shard with the rows of its index, as `write_tar` names them, and what was learnt of its images."""

    shard: Shard
    rows: list[Row]
    pictures: Mapping[str, str]  # by key
    bad: list[dict[str, str]]  # path and reason of each image that is not in it
    sizes: set[Size]  # of its images; no more than two, as all that matters is whether there is one
    specks: list[str]  # paths of those in which there is nothing to be seen
    was_there: bool  # from a run that was interrupted


def plan(listed: Mapping[str, Item], splits: Mapping[str, str], shard_images: int) -> list[Plan]:
    """Shard k of a split holds the k-th run of `shard_images` of its sorted keys."""
    plans = []
    for split in SPLITS:
        keys = sorted(key for key in listed if splits[key] == split)
        for number, start in enumerate(range(0, len(keys), shard_images)):
            items = {key: listed[key] for key in keys[start : start + shard_images]}
            plans.append(Plan(f"{split}-{number:06d}.tar", split, items))
    return plans


@contextmanager
def encoding(count: int, channels: int, max_side: int) -> Iterator[Encode]:
    """Makes images ready for a shard, some at a time: in processes, where `count` take longer than these to start."""
    work = partial(encoded, channels=channels, max_side=max_side)
    if cores() == 1 or count < FEW:
        yield lambda images: [work(image) for image in images]
        return
    with Processes(work, cores()) as processes:
        yield processes.map


@dataclass(frozen=True)
class Packer:
    """Writes shards into `folder`, or finds them there."""

    folder: Path
    channels: int
    max_side: int
    measured: bool  # whether the sizes of images are wanted
    ray: str  # the address of a cluster that does it; "": this machine does

    def pack(self, plans: Sequence[Plan]) -> Generator[Packed, None, None]:
        """All shards, in order; their bytes do not depend on how many are written at once."""
        way = json.dumps([code(), PIL.__version__, self.channels, self.max_side, self.measured])
        count = sum(len(plan.items) for plan in plans)
        if self.ray:
            work = partial(_packed_there, packer=self, way=way, pillow=PIL.__version__)
            with (
                Progress("ingest: writing", count, "images") as progress,
                closing(map_on_cluster(self.ray, work, plans)) as all_packed,
            ):
                for plan, one in zip(plans, all_packed, strict=True):
                    progress.add(len(plan.items), one.shard.bytes)
                    yield one
            return
        threads = -(-cores() // min(cores(), len(plans)))
        with (
            Progress("ingest: writing", count, "images") as progress,
            encoding(count, self.channels, self.max_side) as encode,
        ):
            run = map if cores() == 1 else partial(map_in_order, chunk=1, threads=threads)
            pack = partial(self.packed, way=way, run=partial(run, encode), progress=progress)
            yield from map_in_order(pack, plans, chunk=1, stop=progress.stop)

    def packed(self, plan: Plan, way: str, run: Run, progress: Progress) -> Packed:
        """One shard, with its note beside it."""
        digest = _digest(plan, way)
        earlier = self.from_earlier_run(plan, digest)
        if earlier:
            progress.add(len(plan.items), earlier.shard.bytes)
            return earlier
        bad: list[dict[str, str]] = []
        sizes: set[Size] = set()
        pictures: dict[str, str] = {}
        specks: list[str] = []
        images = self._images(plan, run, progress, bad, sizes, pictures, specks)
        shard, rows = write_tar(images, self.folder / plan.name, plan.split)
        columns = {"keys": [row.key for row in rows], "offsets": [row.offset for row in rows]}
        lengths = [row.size for row in rows]
        made = {"bad": bad, "sizes": sorted(sizes), "pictures": pictures, "specks": specks}
        about = {"bytes": shard.bytes, "sha256": shard.sha256, **made}
        with whole_file(self.folder / _note(plan)) as part:  # for no eyes: a line a value would take seconds
            part.write_text(json.dumps({"digest": digest, **about, **columns, "lengths": lengths}), encoding="utf-8")
        return Packed(shard, rows, pictures, bad, sizes, specks, was_there=False)

    def _images(
        self,
        plan: Plan,
        run: Run,
        progress: Progress,
        bad: list[dict[str, str]],
        sizes: set[Size],
        pictures: dict[str, str],
        specks: list[str],
    ) -> Iterator[tuple[str, bytes, str]]:
        listed = [*plan.items.items()]
        chunks = [listed[start : start + CHUNK] for start in range(0, len(listed), CHUNK)]
        images = ([_bare(item) for _, item in chunk] for chunk in chunks)
        for chunk, results in zip(chunks, run(images), strict=True):
            progress.add(len(chunk), sum(len(one.data) for one in results if isinstance(one, Encoded)))
            for (key, item), one in zip(chunk, results, strict=True):
                if isinstance(one, BadImage):
                    bad.append({"path": item.path, "reason": str(one)})
                    continue
                pictures[key] = one.picture
                if max(one.size) < min(SPECK, self.max_side):
                    specks.append(item.path)
                if self.measured and len(sizes) < 2:
                    sizes.add(one.size)
                yield key, one.data, one.extension

    def from_earlier_run(self, plan: Plan, digest: str) -> Packed | None:
        """The shard, where it is there and as it should be."""
        tar = self.folder / plan.name
        try:
            note = read_json(self.folder / _note(plan))
        except ArtifactError:  # there is none, or the machine went down while it was written
            return None
        if note.get("digest") != digest:
            return None
        if not tar.is_file() or sha256(tar) != note["sha256"]:
            log.info("ingest: %s is not as an earlier run left it, and is written again", tar)
            return None
        columns = zip(note["keys"], note["offsets"], note["lengths"], strict=True)
        rows = [Row(key, plan.split, plan.name, offset, length) for key, offset, length in columns]
        sizes = {(height, width) for height, width in note["sizes"]}
        shard = Shard(plan.name, note["bytes"], note["sha256"], len(rows))
        return Packed(shard, rows, note["pictures"], note["bad"], sizes, note["specks"], was_there=True)


def _packed_there(plan: Plan, packer: Packer, way: str, pillow: str) -> Packed:
    """A task of a cluster: the shard is written in a folder of its own, as two tasks may be at one shard."""
    if PIL.__version__ != pillow:
        raise SourceError(f"{platform.node()}: expected Pillow {pillow} as where ingest began, got {PIL.__version__}")
    earlier = packer.from_earlier_run(plan, _digest(plan, way))
    if earlier:
        return earlier
    work = partial(encoded, channels=packer.channels, max_side=packer.max_side)
    with (
        tempfile.TemporaryDirectory(prefix=".task-", dir=packer.folder) as own,
        Progress(plan.name, len(plan.items), "images") as progress,
    ):
        run = partial(map, lambda images: [work(image) for image in images])
        packed = replace(packer, folder=Path(own)).packed(plan, way, run, progress)
        for name in (plan.name, _note(plan)):
            (Path(own) / name).replace(packer.folder / name)
    return packed


def _note(plan: Plan) -> str:
    return f"{plan.name}.json"


def _digest(plan: Plan, way: str) -> str:
    """Of all that determines the bytes of a shard: the way in which it is made, and its images.

    Of a file it has size and time, not the content.
    """
    digest = hashlib.sha256(f"{way} {plan.name}\n".encode())
    for key, item in plan.items.items():
        digest.update(f"{key} {item.path} {_state(item)}\n".encode())
    return digest.hexdigest()


def _state(item: Item) -> str:
    if isinstance(item.image, np.ndarray):
        return hashlib.sha256(item.image.tobytes()).hexdigest()
    assert isinstance(item.image, Path)
    try:
        stat = item.image.stat()
    except OSError:
        return f"{item.image} none"
    return f"{item.image} {stat.st_size} {stat.st_mtime_ns}"


def _bare(item: Item) -> Image:
    """What is cheap to hand to another process: a path takes as long as reading its file."""
    assert not isinstance(item.image, Span)
    return str(item.image) if isinstance(item.image, Path) else item.image


@contextmanager
def work_folder(shards_dir: Path, source: str, out: Path) -> Iterator[Path]:
    """The folder in which shards are written: one for each `out`, beside their later home, where they are moved.

    It stays if the process is killed or the user stops it, and the next run goes on there.
    """
    place = hashlib.blake2b(str(out.resolve()).encode(), digest_size=4).hexdigest()
    work = shards_dir / f".{source}-{place}.part"
    work.mkdir(parents=True, exist_ok=True)
    try:
        yield work
    except Exception:  # an error leaves nothing behind; Ctrl-C is none of these, and keeps what is done
        shutil.rmtree(work)
        raise
    shutil.rmtree(work)


def home_of(shards: Iterable[Shard], shards_dir: Path, source: str) -> Path:
    """The folder of these shards, named by their content: a folder is never replaced by one of other content."""
    digests = "".join(f"{shard.path} {shard.sha256}\n" for shard in shards)
    return shards_dir / f"{source}-{hashlib.blake2b(digests.encode(), digest_size=4).hexdigest()}"


def move(tars: Sequence[Path], home: Path) -> None:
    """Moves all tars to their own folder, which appears as a whole."""
    with whole_folder(home) as part:
        for tar in tars:
            tar.rename(part / tar.name)
