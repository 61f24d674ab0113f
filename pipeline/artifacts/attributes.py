"""`attributes.parquet`: the group of each image and what its label costs."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Float
from numpy import ndarray

from pipeline.base.errors import ArtifactError, first_line
from pipeline.base.files import read_csv, whole_file


@dataclass(frozen=True)
class Attributes:
    """Of each image its group ("" is none) and what its label costs, in any unit, if there are costs; no labels."""

    key: Sequence[str]
    group: Sequence[str]
    cost: Float[ndarray, " n"] | None

    def write(self, file: Path) -> None:
        """Writes the columns key, group and, where there are costs, cost."""
        columns = {"key": pa.array(self.key, pa.string()), "group": pa.array(self.group, pa.string())}
        columns |= {} if self.cost is None else {"cost": pa.array(self.cost, pa.float64())}
        with whole_file(file) as part:
            pq.write_table(pa.table(columns), part)

    @classmethod
    def read(cls, file: Path, keys: Sequence[str]) -> "Attributes":
        """Reads the rows of `keys` from Parquet or CSV, in their order; only the column key must be there.

        A group may be text or a number; null and NaN are no group. Refuses a key without a row or with two, and a cost
        that is no finite number above 0.
        """
        try:
            table = _columns_of(file, ("key", "group", "cost"))
            rows = {str(key): row for row, key in enumerate(table["key"])}
            group = ["" if name is None or name != name else str(name) for name in table.get("group", ())]
            cost = np.array(table["cost"], np.float64) if "cost" in table else None
        except (OSError, KeyError, TypeError, ValueError, pa.ArrowException) as error:
            raise ArtifactError(
                f"{file}: expected the columns key, group and cost, got: {first_line(error)}"
            ) from error
        if len(rows) < len(table["key"]):
            raise ArtifactError(f"{file}: expected each key once, got {len(table['key'])} rows of {len(rows)} keys")
        for key in keys:
            if key not in rows:
                raise ArtifactError(f"{file}: expected a row for every image to select from, got none for {key}")
            if cost is not None and not 0 < cost[rows[key]] < np.inf:
                raise ArtifactError(f"{file}: key {key}: expected a finite cost above 0, got {cost[rows[key]]:g}")
        asked = [rows[key] for key in keys]
        return cls(keys, [group[row] if group else "" for row in asked], None if cost is None else cost[asked])


def _columns_of(file: Path, names: Sequence[str]) -> dict[str, Sequence[Any]]:
    """Those of the columns that a Parquet file or a CSV has."""
    if file.suffix.lower() == ".csv":
        header, body = read_csv(file, ())
        return {name: [row[header.index(name)].strip() for row in body] for name in names if name in header}
    return pq.read_table(file, columns=[name for name in names if name in pq.read_schema(file).names]).to_pydict()
