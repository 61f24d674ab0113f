"""dvc.yaml tells the truth: its deps are what the code imports and reads, its params are those that it asks for."""

from pathlib import Path

import pytest
from ruamel.yaml import YAML

from pipeline.base.params import STAGES
from pipeline.pretrain.methods import METHODS as PRETRAIN
from pipeline.select.methods import SELECTORS
from pipeline.train.methods import METHODS as TRAIN
from tests.imports import ROOT, closure

GRAPH = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text())["stages"]
LAUNCHED = ("pretrain", "embed", "train")  # by what LAUNCH says, as several processes for instance
TABLES = {"pretrain": PRETRAIN, "select": SELECTORS, "train": TRAIN}
PROPAGATE = "train.propagate"  # by which label guesses, and evaluate says what could be had without a network
AUDIT = "label.audit"  # select never picks an image of it
ANSWERS = {"data/ingest/answers.csv", "data/ingest/sources.csv"}


def outputs(stage: dict) -> set[str]:
    return {*stage.get("outs", []), *stage.get("metrics", [])}


def python(stage: str) -> str:
    """What runs a stage; the shell reads LAUNCH, so that the lock file does not depend on it."""
    return r"\${LAUNCH:-python}" if stage in LAUNCHED else "python"


def test_one_word_names_stage_command_folder_and_block():
    assert tuple(GRAPH) == ("params", *STAGES)
    for name, stage in GRAPH.items():
        assert stage["cmd"] == f"{python(name)} -m stages.{name}"
        assert stage["desc"].endswith(".")
        assert all(out.startswith(f"data/{name}/") for out in outputs(stage))
        own = {*stage.get("params", [])} - {PROPAGATE, AUDIT}
        assert {param.split(".")[0] for param in own} <= {name, "seed"}
    assert {name for name, stage in GRAPH.items() if AUDIT in stage.get("params", [])} == {"select", "label"}
    assert {name for name, stage in GRAPH.items() if PROPAGATE in stage.get("params", [])} == {
        "label",
        "train",
        "evaluate",
    }


def test_all_params_are_checked_before_anything_else():
    assert GRAPH["params"]["deps"][:2] == ["params.yaml", "pipeline"]
    assert {name for name, stage in GRAPH.items() if set(stage["deps"]) & outputs(GRAPH["params"])} == {"ingest"}
    assert all("data/ingest/manifest.json" in upstream(name) for name in STAGES[1:])


@pytest.mark.parametrize("name", GRAPH)
def test_code_deps_are_what_is_imported(name):
    """Each file that the stage loads is under one dep; no dep is without such a file; of the methods one is named."""
    code = {dep for dep in GRAPH[name]["deps"] if not dep.startswith(("data/", "${", "params"))}
    method = {dep for dep in code if "/methods/" in dep}
    named = {"train": ("train.method", "train.hiermatch.base")}.get(name, (f"{name}.method",) if name in TABLES else ())
    assert method == {f"pipeline/{name}/methods/${{{value}}}.py" for value in named}
    files = closure(ROOT / "stages" / f"{name}.py")
    above = {file: [dep for dep in code - method if file == dep or file.startswith(f"{dep}/")] for file in files}
    assert {file for file, deps in above.items() if len(deps) != 1} == set()
    assert {dep for deps in above.values() for dep in deps} == code - method


@pytest.mark.parametrize(("name", "table"), TABLES.items())
def test_a_table_says_no_more_than_the_files_of_its_methods(name, table):
    """dvc.yaml names the method's file and no table: a name must be that of the file which defines the class."""
    assert all(method.__module__ == f"pipeline.{name}.methods.{key}" for key, method in table.items())
    files = {file.stem for file in (ROOT / f"pipeline/{name}/methods").glob("[a-z]*.py")}
    assert files - {"none", "propagate"} == set(table)  # weights to start from, and a run of its own


def test_methods_are_left_out_of_folders_that_stages_depend_on():
    assert "pipeline/*/methods" in (ROOT / ".dvcignore").read_text().splitlines()


def test_data_deps_are_outputs_of_earlier_stages_or_a_persons_folder():
    made: set[str] = {
        "data/images",
        "data/annotations",
        "data/rounds",
        "data/teacher",
        "data/backbone",
        "data/previous",
    }
    for name, stage in GRAPH.items():
        data = {dep for dep in stage["deps"] if dep.startswith("data/")}
        folders = {str(Path(out).parent) for out in made}
        assert data <= made | folders, name
        made |= outputs(stage)


def upstream(name: str) -> set[str]:
    """All data that a stage depends on, directly or not; a dep on a folder is one on all that is made in it."""
    found: set[str] = set()
    todo = [dep for dep in GRAPH[name]["deps"] if dep.startswith("data/")]
    while todo:
        dep = todo.pop()
        for stage in GRAPH.values():
            made = {out for out in outputs(stage) if out == dep or out.startswith(f"{dep}/")}
            if made - found:
                found |= made
                todo += [d for d in stage["deps"] if d.startswith("data/")]
    return found


@pytest.mark.parametrize("name", ["pretrain", "embed", "graph", "select"])
def test_the_wall(name):
    """No answer is upstream of what learns without labels or selects."""
    reached = upstream(name)
    assert not reached & (ANSWERS | {"data/label/labels.csv", "data/ingest/classes.json"})
    assert "data/ingest/index.parquet" in reached


def test_select_and_label_depend_on_finished_rounds():
    assert "${select.labelled}" in GRAPH["select"]["deps"]
    assert "data/rounds" in GRAPH["label"]["deps"]
    assert YAML(typ="safe").load((ROOT / "params.yaml").read_text())["select"]["labelled"] == "data/rounds"


def test_only_label_evaluate_and_report_read_answers():
    readers = {name for name, stage in GRAPH.items() if set(stage["deps"]) & ANSWERS}
    assert readers == {"label", "evaluate", "report"}


def test_the_test_split_is_read_by_embed_evaluate_and_report_only():
    readers = {name for name, stage in GRAPH.items() if "data/embed/test" in stage["deps"]}
    assert readers == {"evaluate", "report"}


def test_replicates_have_the_stages_own_deps_and_params():
    replicate = YAML(typ="safe").load((ROOT / "experiments/replicate/dvc.yaml").read_text())["stages"]
    seeds = "experiments/replicate/seeds/${item.seed}/"
    for name in ("train", "evaluate"):
        own, root = replicate[name], GRAPH[name]
        assert own["deps"] == [dep.replace("data/train", f"{seeds}train") for dep in root["deps"]]
        assert own["params"] == [param for param in root["params"] if param != "seed"]
        outs = {out.replace(f"data/{name}", f"{seeds}{name}") for out in outputs(root)}
        assert outputs(own) == outs
        assert own["cmd"].startswith(f"{python(name)} -m stages.{name} --set seed=${{item.seed}} ")
    code = {dep for dep in replicate["summarise"]["deps"] if not dep.startswith("experiments/")}
    files = closure(ROOT / "stages/summarise.py")
    assert {file for file in files if not any(file == dep or file.startswith(f"{dep}/") for dep in code)} == set()
