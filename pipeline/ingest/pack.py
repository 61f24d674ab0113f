"""Images to new shards: several at once, and none twice after an interruption.

Which images a shard holds is known before any is read, so an image that turns out bad makes its own shard smaller and
moves no other. A finished tar gets a JSON note beside it, which is renamed into place last. The next run keeps a tar
whose note says that it was made of the same images in the same way.
"""

import hashlib
import json
import logging
import shutil
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import PIL

from pipeline.artifacts.shards import Shard
from pipeline.base.errors import ArtifactError
from pipeline.base.files import read_json, sha256, whole_folder, write_json
from pipeline.base.scratch import code
from pipeline.ingest.progress import Progress
from pipeline.ingest.source import Item
from pipeline.ingest.split import SPLITS
from pipeline.ingest.tars import Row, write_tar
from pipeline.parallel.cores import cores
from pipeline.parallel.threads import map_in_order
from pipeline.shards.decode import BadImage, encode, normalise, probe

log = logging.getLogger(__name__)

Size = tuple[int, int]  # height, width


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


@dataclass(frozen=True)
class Packer:
    """Writes shards into `folder`, or finds them there."""

    folder: Path
    channels: int
    max_side: int
    measured: bool  # whether the sizes of images are wanted; a header takes a tenth of the time that decoding takes

    def pack(self, plans: Sequence[Plan]) -> Generator[Packed, None, None]:
        """All shards, in order; their bytes do not depend on how many are written at once."""
        threads = -(-cores() // min(cores(), len(plans)))
        way = json.dumps([code(), PIL.__version__, self.channels, self.max_side, self.measured])
        with Progress("ingest: writing", sum(len(plan.items) for plan in plans), "images") as progress:
            work = partial(self._packed, way=way, threads=threads, progress=progress)
            yield from map_in_order(work, plans, chunk=1, stop=progress.stop)

    def _packed(self, plan: Plan, way: str, threads: int, progress: Progress) -> Packed:
        digest = _digest(plan, way)
        earlier = self._from_earlier_run(plan, digest)
        if earlier:
            progress.add(len(plan.items), earlier.shard.bytes)
            return earlier
        bad: list[dict[str, str]] = []
        sizes: set[Size] = set()
        pictures: dict[str, str] = {}
        images = self._images(plan, threads, progress, bad, sizes, pictures)
        shard, rows = write_tar(images, self.folder / plan.name, plan.split)
        columns = {"keys": [row.key for row in rows], "offsets": [row.offset for row in rows]}
        lengths = [row.size for row in rows]
        about = {"bytes": shard.bytes, "sha256": shard.sha256, "bad": bad, "sizes": sorted(sizes), "pictures": pictures}
        write_json(self._note(plan), {"digest": digest, **about, **columns, "lengths": lengths})
        return Packed(shard, rows, pictures, bad, sizes, was_there=False)

    def _images(
        self,
        plan: Plan,
        threads: int,
        progress: Progress,
        bad: list[dict[str, str]],
        sizes: set[Size],
        pictures: dict[str, str],
    ) -> Iterator[tuple[str, bytes, str]]:
        run: Callable[..., Iterator[tuple[bytes, str, str] | BadImage]]
        run = map if threads == 1 else partial(map_in_order, threads=threads)
        for (key, item), result in zip(plan.items.items(), run(self._encoded, plan.items.values()), strict=True):
            data, extension, picture = (b"", "", "") if isinstance(result, BadImage) else result
            progress.add(1, len(data))
            if isinstance(result, BadImage):
                bad.append({"path": item.path, "reason": str(result)})
                continue
            pictures[key] = picture
            if self.measured and len(sizes) < 2:
                sizes.add(probe(data, whole=False).size)
            yield key, data, extension

    def _encoded(self, item: Item) -> tuple[bytes, str, str] | BadImage:
        """The bytes that go into the shard, the end of their name, and the digest of the picture as it was brought."""
        pixels = item.image
        try:
            if isinstance(pixels, np.ndarray) and len(pixels) == self.channels and max(pixels.shape) <= self.max_side:
                return encode(pixels), "png", item.picture(b"")
            data = item.read()
            return *normalise(data, self.channels, self.max_side), item.picture(data)
        except BadImage as error:
            return error

    def _from_earlier_run(self, plan: Plan, digest: str) -> Packed | None:
        tar = self.folder / plan.name
        try:
            note = read_json(self._note(plan))
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
        return Packed(shard, rows, note["pictures"], note["bad"], sizes, was_there=True)

    def _note(self, plan: Plan) -> Path:
        return self.folder / f"{plan.name}.json"


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
