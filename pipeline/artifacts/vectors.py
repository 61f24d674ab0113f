"""Any embedding as one matrix: `.npy`, `.npz`, Parquet with a column of lists, or a folder of such files."""

import re
from pathlib import Path

import numpy as np
from jaxtyping import Float32
from numpy import ndarray

from pipeline.artifacts.matrix_files import Array, MatrixFile, Table
from pipeline.base.errors import ArtifactError
from pipeline.base.files import check_once

FORMATS = (".npy", ".npz", ".parquet")


def read_vectors(path: Path) -> Float32[ndarray, "n d"]:
    """A matrix of finite floats as float32; refuses any other shape, type or value by the file's name.

    Also refuses vectors so long that a float32 would not hold the sums of their squared distances. Of an `.npz` it is
    the only matrix of floats in it, or the array named after a colon: `file.npz:name`. Of a folder it is the rows of
    all parts, sorted by name, numbers in it by value ("9" before "10"); of one format and length of vector.
    """
    return read_keyed(path)[1]


def read_keyed(path: Path) -> tuple[list[str] | None, Float32[ndarray, "n d"]]:
    """`read_vectors`, and the keys of the rows where they are Parquet with a column `key` of text: each key once."""
    parts = opened_files(path)
    x = np.empty((sum(part.shape[0] for part in parts), parts[0].shape[1]), np.float32)
    keys: list[str] = []
    start = 0
    for part in parts:
        stop = start + part.shape[0]
        keys += part.read(x[start:stop])
        start = stop
        if len(keys) not in (0, stop):
            raise ArtifactError(f"{part.where}: expected a column key in every part or in none")
    check_once(keys, str(path))
    return keys or None, x


def opened_files(path: Path) -> list[MatrixFile]:
    """What `read_vectors` reads, looked into: matrices of floats whose vectors are of one length."""
    name = _split(path)[1]
    parts = [_opened(file, name) for file in files_of(path)]
    dim = parts[0].shape[1]
    for part in parts:
        if part.shape[1] != dim:
            raise ArtifactError(
                f"{part.where}: expected vectors of {dim} numbers as in {parts[0].where}, got {part.shape[1]}"
            )
    return parts


def megabytes(path: Path) -> float:
    """What the matrix takes in memory, as float32; told from the files' headers."""
    return sum(part.shape[0] * part.shape[1] * 4 for part in opened_files(path)) / 1e6


def files_of(path: Path) -> list[Path]:
    """The files that `read_vectors` reads: one, or the parts in a folder, less those whose names begin with . or _."""
    file = _split(path)[0]
    if not file.is_dir():
        if file.suffix.lower() not in FORMATS:
            found = "another" if file.exists() else "none"
            raise ArtifactError(f"{file}: expected a .npy, .npz or .parquet file or a folder of them, found {found}")
        if not file.is_file():
            raise ArtifactError(f"{file}: expected a {file.suffix.lower()} file, found none")
        return [file]
    files = sorted((e for e in file.iterdir() if not e.name.startswith((".", "_"))), key=_by_number)
    if not files:
        raise ArtifactError(f"{file}: expected .npy, .npz or .parquet files, found none")
    for part in files:
        if part.suffix.lower() not in FORMATS or not part.is_file():
            raise ArtifactError(f"{part}: expected a folder of .npy, .npz or .parquet files alone, found this in it")
        if part.suffix.lower() != files[0].suffix.lower():
            raise ArtifactError(f"{part}: expected a part in the format of {files[0].name}, found another")
    return files


def _by_number(file: Path) -> list[tuple[int, int | str]]:
    parts = re.split(r"(\d+)", file.name)
    return [(0, int(part)) if part.isdecimal() else (1, part) for part in parts if part]


def _split(path: Path) -> tuple[Path, str | None]:
    """A file and the name of an array in it, where the path has one."""
    stem, colon, name = path.name.partition(".npz:")
    return (path.with_name(f"{stem}.npz"), name) if colon and not path.exists() else (path, None)


def _opened(file: Path, name: str | None) -> MatrixFile:
    match file.suffix.lower():
        case ".npy":
            return Array.of_file(file)
        case ".npz":
            return Array.of_archive(file, name)
        case _:
            return Table.of_file(file)
