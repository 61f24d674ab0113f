"""params.yaml, one strict block at a time: unknown, missing, mistyped and out-of-range values are refused in one line.

A block is a pydantic model without defaults: params.yaml is the only home of a value. A stage's block holds its common
values, the name of its method and one sub-block for each method; only the sub-block of the method in use is read.
"""

import difflib
import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from pipeline.base.errors import ParamsError, first_line

STAGES = ("ingest", "pretrain", "embed", "graph", "select", "label", "train", "evaluate", "report")
RENAMED = (  # what a key was called, and what it is called now
    (r"reading", "machine.reading"),
    (r"(?:pretrain|train|embed)\.(precision|compile|recompute|resident_mb|window_shards)", r"machine.\1"),
    (r"select\.resident_mb", "machine.vectors_mb"),
    (r"select\.labeled", "select.labelled"),
    (r"(pretrain|train)\.optim\.(trust|clip)", r"\1.optim.lars.\2"),
    (r"pretrain\.swav\.local", "pretrain.local"),
    (r"pretrain\.(\w+)\.keep_(start|end)", r"pretrain.\1.momentum_\2"),
    (r"pretrain\.(\w+)\.bank_keep", r"pretrain.\1.bank_momentum"),
    (r"train\.(\w+)\.(target|threshold|confidence)_keep", r"train.\1.\2_momentum"),
    (r"train\.(?:\w+\.)+align_keep", "train.align_momentum"),
    (r"train\.(?:\w+\.)+keep", "train.ema_momentum"),
    (r"train\.hiermatch\.(fixmatch|mixmatch)", r"train.\1"),
    (r"train\.(paws|nncsl|gcd|promptcal|trex)\.view", "train.view"),
)


class Block(BaseModel):
    """A block of params.yaml: frozen, no unknown keys, no silent conversion between types."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


B = TypeVar("B", bound=Block)


def parse_yaml(text: str, where: str) -> Any:
    """YAML 1.2, as DVC reads it (so `1e-6` is a number); raises ParamsError in one line."""
    try:
        return YAML(typ="safe", pure=True).load(text)
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" line {mark.line + 1}:" if mark else ""
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise ParamsError(f"{where}:{line} expected YAML, got: {problem}") from error
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, a thousand brackets
        raise ParamsError(f"{where}: expected YAML, got: {first_line(error)}") from error


def plain(tree: Any, where: str) -> str:
    """The tree as JSON. Raises ParamsError for what JSON has no word for: a block in itself, a list as a key."""
    try:
        return json.dumps(tree, default=str)
    except (TypeError, ValueError, RecursionError) as error:
        raise ParamsError(f"{where}: expected names, numbers, texts, lists and blocks, got: {error}") from error


def near(name: object, names: Iterable[object]) -> str:
    """A question that goes behind a message about a name that is not there: which of the names is meant."""
    found = difflib.get_close_matches(str(name), [other for other in map(str, names) if other != str(name)], 1)
    return f"; is it {found[0]}?" if found else ""


@dataclass(frozen=True)
class Params:
    """The tree of params.yaml with the `--set` values laid over it; blocks are checked when they are asked for."""

    tree: Mapping[str, Any]
    where: str

    @classmethod
    def read(cls, file: Path, sets: Sequence[str] = ()) -> "Params":
        """Reads `file`, then lays each `dotted.key=value` of `sets` over it; the value is YAML."""
        if not file.is_file():
            raise ParamsError(f"{file}: expected a params file, found none; name one with --params")
        try:
            tree = parse_yaml(file.read_text(encoding="utf-8"), str(file))
        except UnicodeDecodeError as error:
            raise ParamsError(f"{file}: expected UTF-8 text, got bytes that are not ({error.reason})") from error
        if not isinstance(tree, dict):
            got = "an empty file" if tree is None else type(tree).__name__
            raise ParamsError(f"{file}: expected a mapping of blocks, got {got}")
        for item in sets:
            overlay(tree, item)
        return cls.of(tree, str(file))

    @classmethod
    def of(cls, tree: Mapping[str, Any], where: str) -> "Params":
        """The tree, once its own keys are looked at; messages begin with `where`."""
        plain(tree, where)
        refuse_renamed(tree, where)
        known = ("seed", "machine", *STAGES)
        unknown = sorted(str(key) for key in tree if key not in known)
        if unknown:
            raise ParamsError(f"{where}: unknown {unknown}; expected {', '.join(known)}{near(unknown[0], known)}")
        return cls(tree, where)

    def with_values(self, *sets: str) -> "Params":
        """The same with each `dotted.key=value` of `sets` laid over it."""
        tree = deepcopy(dict(self.tree))
        for item in sets:
            overlay(tree, item)
        return Params.of(tree, self.where)

    @property
    def seed(self) -> int:
        """The seed of the run. Raises ParamsError for what is none."""
        seed = self.tree.get("seed")
        if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
            raise ParamsError(f"{self.where}: seed: expected a whole number of at least 0, got {seed!r}")
        return seed

    def lookup(self, dotted: str) -> Any:
        """The value at `a.b.c`, or a refusal that names the first part that is missing."""
        node: Any = self.tree
        parts = dotted.split(".")
        for depth, part in enumerate(parts):
            if not isinstance(node, dict):
                raise ParamsError(f"{self.where}: {'.'.join(parts[:depth])}: expected a block, got {node!r}")
            if part not in node:
                raise ParamsError(f"{self.where}: {'.'.join(parts[: depth + 1])}: expected a value, found none")
            node = node[part]
        return node

    def block(self, dotted: str, model: type[B]) -> B:
        """The block at `dotted`, checked against `model`."""
        return self._check(dotted, self.lookup(dotted), model)

    def stage(self, name: str, model: type[B], methods: Collection[str] = ()) -> B:
        """A stage's own values, less the sub-blocks of the methods named in `methods`."""
        values = self.lookup(name)
        if isinstance(values, dict):
            values = {key: value for key, value in values.items() if key not in methods}
        return self._check(name, values, model)

    def method(self, dotted: str, table: Collection[str]) -> str:
        """The name at `dotted` (such as `select.method`), refused unless it stands in the table."""
        name = self.lookup(dotted)
        if not isinstance(name, str) or name not in table:
            choices = ", ".join(sorted(table))
            raise ParamsError(f"{self.where}: {dotted}: expected one of {choices}, got {name!r}{near(name, table)}")
        return name

    def _check(self, dotted: str, values: Any, model: type[B]) -> B:
        if not isinstance(values, dict):
            raise ParamsError(f"{self.where}: {dotted}: expected a block, got {values!r}")
        try:
            # By way of JSON, whose strict mode takes a list for a tuple and nothing else for anything else.
            return model.model_validate_json(plain(values, f"{self.where}: {dotted}"))
        except ValidationError as error:
            raise ParamsError(f"{self.where}: {dotted}{_first_fault(error, values)}") from None


def overlay(tree: dict[str, Any], item: str) -> None:
    """Lays one `dotted.key=value` over the tree in place, making blocks on the way where there are none.

    The value is YAML, but nothing is the empty text: a shell makes that of `key=""`.
    """
    dotted, equals, text = item.partition("=")
    if not equals or not all(dotted.split(".")):
        raise ParamsError(f"--set {item}: expected dotted.key=value")
    *path, last = dotted.split(".")
    node = tree
    for part in path:
        node = node.setdefault(part, {})
        if not isinstance(node, dict):
            raise ParamsError(f"--set {item}: {part} is a value, not a block")
    node[last] = parse_yaml(text, f"--set {dotted}") if text else ""


def refuse_renamed(tree: Mapping[str, Any], where: str, above: str = "") -> None:
    """Raises ParamsError, with the new name, for a key of the tree that had another name once."""
    for key, value in tree.items():
        dotted = f"{above}{key}"
        for old, new in RENAMED:
            match = re.fullmatch(old, dotted)
            if match:
                raise ParamsError(f"{where}: {dotted}: expected its new name, {match.expand(new)}, got the old one")
        if isinstance(value, Mapping):
            refuse_renamed(value, where, f"{dotted}.")


def _first_fault(error: ValidationError, values: Mapping[str, Any]) -> str:
    faults = error.errors()
    where = {"extra_forbidden": "unknown", "missing": "missing"}
    named = {kind: sorted(".".join(map(str, f["loc"])) for f in faults if f["type"] == kind) for kind in where}
    if any(named.values()):
        said = ": " + ", ".join(f"{where[kind]} {keys}" for kind, keys in named.items() if keys)
        return said + next((_meant(f["loc"], faults, values) for f in faults if f["type"] == "extra_forbidden"), "")
    fault = faults[0]
    path = "".join(f".{part}" for part in fault["loc"])
    message = fault["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
    return f"{path}: expected {message}, got {fault['input']!r}"


def _meant(unknown: Sequence[Any], faults: Sequence[Any], values: Any) -> str:
    """Which key may be meant by an unknown one: one that is missing there, or another one of its block."""
    *above, key = unknown
    for part in above:
        values = values[part]
    missing = [f["loc"][-1] for f in faults if f["type"] == "missing" and list(f["loc"][:-1]) == above]
    return near(key, missing) or near(key, values)
