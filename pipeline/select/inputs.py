"""What a selection starts from: vectors and their keys, what is labelled already, groups and costs."""

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float32, Int64
from numpy import ndarray

from pipeline.artifacts.attributes import Attributes
from pipeline.artifacts.audit import audit_keys, read_audit
from pipeline.artifacts.embeddings import Embeddings, StoredEmbeddings
from pipeline.artifacts.on_disk import Parts, RowNumbers
from pipeline.artifacts.rounds import labelled_keys, next_number
from pipeline.artifacts.skipped import Skipped
from pipeline.artifacts.vectors import read_keyed
from pipeline.base.errors import ArtifactError

log = logging.getLogger(__name__)
ROUNDS = Path("data/rounds")  # the chain's own rounds
Images = tuple[Sequence[str], Float32[ndarray | Parts, "n d"]]  # their keys and their vectors
UNEVEN = 100  # times the median: a length beside which others blur


def read_embeddings(folder: Path, *, on_disk: bool) -> Images:
    """Keys and vectors of the images of the chain."""
    table = StoredEmbeddings.open(folder) if on_disk else Embeddings.read(folder)
    return table.keys, table.vectors


def read_matrix(file: Path, *, on_disk: bool) -> Images:
    """Keys and vectors of any matrix; rows without a key are known by their numbers. Logs how long the vectors are."""
    x: Parts | ndarray
    if on_disk:
        keys, x = None, (parts := Parts.open(file))
        length = parts.survey.lengths
    else:
        keys, x = read_keyed(file)
        length = np.linalg.norm(x, axis=1)
    log.info("vectors of length %.4g to %.4g, taken as they are", length.min(), length.max())
    if length.max() > UNEVEN * np.median(length):
        log.info("beside the longest vectors, float32 may not tell the short ones apart; unit length would help")
    return keys or RowNumbers(len(x)), x


def labelled_rows(file: Path, keys: Sequence[str], *, bare: bool) -> tuple[list[str], Int64[ndarray, " l"]]:
    """The keys that `file` says have a label, and their rows; refuses a key that is none of the images.

    In the chain's own rounds there may be some, as an image may be gone, or be held out since the first answers came.
    From a bare matrix, these rounds count only if they have keys of its images.
    """
    optional = bare and file == ROUNDS
    known = [] if optional and not file.is_dir() else labelled_keys(file)
    wanted = set(known)
    row_of = {key: row for row, key in enumerate(keys) if key in wanted} if wanted else {}
    if optional and not row_of:
        known = []
    gone = [key for key in known if key not in row_of] if file == ROUNDS else []
    if gone:
        log.warning("select: %d images with a label in %s are not to train any more", len(gone), file)
        known = [key for key in known if key in row_of]
    strange = next((key for key in known if key not in row_of), None)
    if strange is not None:
        raise ArtifactError(
            f"{file}: key {strange}: expected the key of an image to select from, as in keys.txt, got none of these"
        )
    return known, np.array(sorted(row_of.values()), np.int64)


def skipped_rows(file: Path, keys: Sequence[str]) -> tuple[Int64[ndarray, " s"], list[Int64[ndarray, " r"]]]:
    """The rows that were skipped in the finished rounds that are in `file`, and in this one, request by request.

    An image that is not there any more is none; nor is any, where `file` is no folder of rounds.
    """
    skipped, number = Skipped.read(file), next_number(file) if file.is_dir() else 0
    wanted = set(skipped.keys)
    row_of = {key: row for row, key in enumerate(keys) if key in wanted} if wanted else {}
    there = [place for place, key in enumerate(skipped.keys) if key in row_of]
    before = [row_of[skipped.keys[place]] for place in there if skipped.round[place] < number]
    requests: dict[int, list[int]] = {}
    for place in there:
        if skipped.round[place] >= number:
            requests.setdefault(skipped.request[place], []).append(row_of[skipped.keys[place]])
    return np.array(before, np.int64), [np.array(requests[request], np.int64) for request in sorted(requests)]


def audited_rows(file: Path, keys: Sequence[str], known: Collection[str], count: int) -> Int64[ndarray, " a"]:
    """The rows of the images that an audit of `count` images is of, or was; `known` are the keys with a label.

    `file` is what says so, if it is a folder of rounds.
    """
    # New images that join those of before may be picked: no label of theirs is part of the audit yet.
    audit = {*audit_keys(keys, known, count, ()), *read_audit(file)}
    return np.array([row for row, key in enumerate(keys) if key in audit] if audit else [], np.int64)


@dataclass(frozen=True)
class GroupsAndCosts:
    """Of each image its group, -1 for none, and what its label costs; without attributes no groups and costs of 1."""

    group: Int64[ndarray, " n"]
    cost: Float[ndarray, " n"]
    has_costs: bool

    @classmethod
    def read(cls, file: Path | None, keys: Sequence[str]) -> "GroupsAndCosts":
        """From the attributes in a file, if there is one."""
        # Views of one number, or they would take more than all else while the vectors are on disk.
        ones, none = np.broadcast_to(1.0, len(keys)), np.broadcast_to(np.int64(-1), len(keys))
        if file is None:
            return cls(none, ones, False)
        attributes = Attributes.read(file, keys)
        number = {name: i for i, name in enumerate(sorted({*attributes.group} - {""}))} | {"": -1}
        group = np.array([number[name] for name in attributes.group])
        return cls(group, ones if attributes.cost is None else attributes.cost, attributes.cost is not None)
