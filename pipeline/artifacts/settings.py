"""With which values of params.yaml a run was made, as the records of its stages have them.

params.yaml itself may have changed since.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.base.files import read_json

FILE = "params.json"  # beside the labels of a round


def read_records(pretrain: Path, select: Path, train: Path) -> dict[str, dict[str, Any]]:
    """What these three stages wrote of themselves into their folders, by stage."""
    files = {
        "pretrain": pretrain / "backbone.json",
        "select": select / "record.json",
        "train": train / "model.json",
    }
    return {stage: read_json(file) for stage, file in files.items()}


def settings(records: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The values by dotted key: the seed, those of these three stages that were in use, the network and its images."""
    select, network, size = records["select"], records["pretrain"]["backbone"], records["pretrain"]["size"]
    values = {stage: dict(record.get("params", {})) for stage, record in records.items()}
    values["select"] = {**select.get("select", {}), str(select.get("method")): values["select"]}
    for stage, record in records.items():
        values[stage]["method"] = record.get("method")
    values["pretrain"] |= {"backbone": network["name"], "backbones": {network["name"]: network["options"]}}
    side = size[0] if size[0] == size[1] else size
    return flat({"seed": select.get("seed"), "ingest.size": side, **values})


def flat(tree: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """The values of nested blocks by dotted key."""
    values: dict[str, Any] = {}
    for key, value in tree.items():
        values |= flat(value, f"{above}{key}.") if isinstance(value, Mapping) else {f"{above}{key}": value}
    return values
