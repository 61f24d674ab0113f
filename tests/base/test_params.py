"""params.yaml: what is taken, and every refusal word for word."""

from pathlib import Path
from typing import Literal

import pytest
from pydantic import Field

from pipeline.base.errors import ParamsError
from pipeline.base.params import Block, Params


class Example(Block):
    """A block of every kind of value."""

    method: str
    share: float = Field(ge=0, lt=1)
    count: int = Field(ge=1)
    kind: Literal["a", "b"]
    pair: tuple[int, int]


GOOD = "select: {method: x, share: 1e-6, count: 3, kind: a, pair: [1, 2], x: {y: 1}, z: {broken}}\nseed: 4\n"


def read(tmp_path: Path, text: str = GOOD, sets: tuple[str, ...] = ()) -> Params:
    (tmp_path / "params.yaml").write_text(text)
    return Params.read(tmp_path / "params.yaml", sets)


def refusal(tmp_path, text=GOOD, sets=()):
    with pytest.raises(ParamsError) as caught:
        params = read(tmp_path, text, sets)
        params.stage("select", Example, ["x", "z"])
        _ = params.seed
    return str(caught.value).removeprefix(f"{tmp_path}/")


def test_a_stage_reads_its_values_without_the_blocks_of_its_methods(tmp_path):
    params = read(tmp_path)
    block = params.stage("select", Example, ["x", "z"])
    assert (block.share, block.count, block.pair) == (1e-6, 3, (1, 2))
    assert params.seed == 4
    assert params.method("select.method", {"x": 1}) == "x"


def test_set_lays_yaml_values_over_the_file(tmp_path):
    params = read(tmp_path, sets=("select.count=7", "select.share=5e-4", "seed=1", "select.new.deep=[1]"))
    assert params.lookup("select.count") == 7
    assert params.lookup("select.share") == 5e-4
    assert params.lookup("select.new.deep") == [1]
    assert params.seed == 1


def test_the_empty_text_stays_one(tmp_path):
    """A shell makes `--set select.kind=` of `--set select.kind=""`."""
    for item in ("select.kind=", 'select.kind=""'):
        assert read(tmp_path, sets=(item,)).lookup("select.kind") == ""
    assert read(tmp_path, sets=("select.kind=null",)).lookup("select.kind") is None


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        (("select.share=1.5",), "params.yaml: select.share: expected less than 1, got 1.5"),
        (("select.share='0.5'",), "params.yaml: select.share: expected a valid number, got '0.5'"),
        (("select.count=true",), "params.yaml: select.count: expected a valid integer, got True"),
        (("select.count=2.5",), "params.yaml: select.count: expected a valid integer, got 2.5"),
        (("select.kind=c",), "params.yaml: select.kind: expected 'a' or 'b', got 'c'"),
        (("select.cuont=3",), "params.yaml: select: unknown ['cuont']; is it count?"),
        (("select=3",), "params.yaml: select: expected a block, got 3"),
        (("selct.count=3",), "params.yaml: unknown ['selct']; expected seed, machine, ingest, pretrain, embed, graph, "
                             "select, label, train, evaluate, report; is it select?"),
        (("reading.retries=3",), "params.yaml: reading: expected its new name, machine.reading, got the old one"),
        (("train.fixmatch.keep=0.9",), "params.yaml: train.fixmatch.keep: expected its new name, train.ema_momentum, "
                                       "got the old one"),
        (("pretrain.moco.keep_start=0.9",), "params.yaml: pretrain.moco.keep_start: expected its new name, "
                                            "pretrain.moco.momentum_start, got the old one"),
        (("train.paws.view.flip=0.5",), "params.yaml: train.paws.view: expected its new name, train.view, "
                                          "got the old one"),
        (("seed=-1",), "params.yaml: seed: expected a whole number of at least 0, got -1"),
        (("seed=true",), "params.yaml: seed: expected a whole number of at least 0, got True"),
        (("seed",), "--set seed: expected dotted.key=value"),
        ((".=3",), "--set .=3: expected dotted.key=value"),
        (("seed.x=3",), "--set seed.x=3: seed is a value, not a block"),
        (("select.count=[1",), "--set select.count: line 1: expected YAML, got: expected ',' or ']', "
                               "but got '<stream end>'"),
    ],
)  # fmt: skip
def test_refusals(tmp_path, sets, message):
    assert refusal(tmp_path, sets=sets) == message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("select: {method: x, shar: 0.1, count: 3, kind: a, pair: [1, 2]}\nseed: 0",
         "params.yaml: select: unknown ['shar'], missing ['share']; is it share?"),
        ("a: [1\nb: 2", "params.yaml: line 2: expected YAML, got: expected ',' or ']', but got ':'"),
        ("seed: 1\nseed: 2", "params.yaml: line 2: expected YAML, got: found duplicate key \"seed\" with value \"2\" "
                             "(original value: \"1\")"),
        ("[1]", "params.yaml: expected a mapping of blocks, got list"),
        ("# nothing\n", "params.yaml: expected a mapping of blocks, got an empty file"),
        ("select: [1]", "params.yaml: select: expected a block, got [1]"),
        ("select:", "params.yaml: select: expected a block, got None"),
        ("select.count: 3", "params.yaml: unknown ['select.count']; expected seed, machine, ingest, pretrain, embed, "
                            "graph, select, label, train, evaluate, report; is it select?"),
        ("seed:\n\t- 1", "params.yaml: line 2: expected YAML, got: found character '\\t' that cannot start any token"),
        (f"seed: {'9' * 5000}", "params.yaml: expected YAML, got: Exceeds the limit (4300 digits) for integer string "
                                "conversion: value has 5000 digits; use sys.set_int_max_str_digits() to increase the "
                                "limit"),
        ("select: {? [a] : 1}", "params.yaml: expected names, numbers, texts, lists and blocks, got: keys must be str, "
                                "int, float, bool or None, not tuple"),
        ("select: &s {x: *s}", "params.yaml: expected names, numbers, texts, lists and blocks, got: Circular reference "
                               "detected"),
    ],
)  # fmt: skip
def test_texts_that_are_refused(tmp_path, text, message):
    assert refusal(tmp_path, text) == message


def test_files_and_names_that_are_not_there(tmp_path):
    with pytest.raises(ParamsError, match=r"none.yaml: expected a params file, found none; name one with --params$"):
        Params.read(tmp_path / "none.yaml")
    with pytest.raises(ParamsError, match=r"select.method: expected one of kmeans, usl, got 'x'$"):
        read(tmp_path).method("select.method", {"usl": 1, "kmeans": 2})
    with pytest.raises(ParamsError, match=r"select.b: expected a value, found none$"):
        read(tmp_path).lookup("select.b.c")
    (tmp_path / "params.yaml").write_bytes(b"seed: \xff")
    with pytest.raises(ParamsError, match=r"params.yaml: expected UTF-8 text, got bytes that are not \(invalid start"):
        Params.read(tmp_path / "params.yaml")
