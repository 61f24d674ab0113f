"""Images in tars of webdataset's own writer, with their manifest and index."""

import tarfile

import numpy as np
import webdataset

from pipeline.artifacts.shards import Index, Manifest, Shard
from pipeline.base.files import sha256


def made(images, folder, split_images, size, channels):
    """`images`: (key, split, bytes, extension) by key; `split_images` at most in a tar; `size` is what networks see."""
    shards, rows = {}, []
    for split in ("train", "test"):
        own = [image for image in images if image[1] == split]
        for start in range(0, len(own), split_images):
            file = folder / f"{split}-{start // split_images:06d}.tar"
            with webdataset.TarWriter(str(file), mtime=0) as writer:
                for key, _, data, extension in own[start : start + split_images]:
                    writer.write({"__key__": key, extension: data})
            with tarfile.open(file) as tar:
                members = [(m.name.partition(".")[0], split, str(file), m.offset_data, m.size) for m in tar]
            rows += members
            shards.setdefault(split, []).append(Shard(str(file), file.stat().st_size, sha256(file), len(members)))
    key, split, shard, offset, length = zip(*sorted(rows), strict=True)
    index = Index(key, split, shard, np.array(offset), np.array(length))
    return Manifest("made", channels, size, shards, []), index
