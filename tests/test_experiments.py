"""`docs/guide/experiments.md`, command by command, in a run that is a git repository of its own."""

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.base.files import read_csv, sha256
from pipeline.base.typed import IN_FOLDER
from pipeline.base.typed import here as typed_here
from stages.cli import bring_from_home
from tests.imports import ROOT
from tests.test_chain import SMALL, stage_lines

pytestmark = pytest.mark.timeout(900)  # a test runs several chains
PAGE = (ROOT / "docs/guide/experiments.md").read_text(encoding="utf-8")
ENV = {
    **os.environ,
    "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    "OMP_NUM_THREADS": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",  # git does not know who commits
}
ENV.pop("PYTHONPATH", None)


def run(folder: Path, command: str, code: int = 0) -> str:
    done = subprocess.run(command, shell=True, cwd=folder, env=ENV, capture_output=True, text=True, check=False)
    assert done.returncode == code, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout + done.stderr


def commands(heading: str) -> list[str]:
    """The lines of the first block below a heading."""
    block = re.search(rf"^# {heading}\n.*?```sh\n(.*?)```", PAGE.replace("## ", "# "), re.MULTILINE | re.DOTALL)
    assert block
    return block[1].splitlines()


def status(folder: Path) -> list[str]:
    return run(folder, "git status --porcelain").splitlines()


def shown(table: str, name: str) -> list[str]:
    """The cells of the row of an experiment."""
    return next(line for line in table.splitlines() if f"[{name}]" in line).split("]")[1].split()


@pytest.fixture(scope="module")
def mine(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("experiments") / "runs/mine"
    lay_out, cd, *rest = commands("Experiments")
    assert cd == "cd runs/mine"
    run(ROOT, lay_out.replace("runs/mine", str(folder)) + "".join(f" --set {item}" for item in SMALL))
    assert status(folder) == []
    for command in rest:
        run(folder, command)
    assert status(folder) == []
    return folder


@pytest.mark.slow
def test_another_value(mine):
    refused = run(mine, "dvc exp run -S select.method=typicclust", code=255)
    assert re.search(
        r"^Error: params.yaml: select.method: expected one of .*; is it typiclust\?$", refused, re.MULTILINE
    )
    assert stage_lines(refused) == ["Running stage 'params':"]
    assert status(mine) == [" M params.yaml"]
    run(mine, "git checkout params.yaml")
    before = (mine / "data/select/picks.csv").read_bytes()
    try_it, show, diff, apply = commands("Another value")
    assert [line.split("'")[1] for line in stage_lines(run(mine, try_it))][:2] == ["params", "select"]
    assert status(mine) == [" M dvc.lock", " M params.yaml"]
    table = run(mine, show)
    assert "kmeans" in shown(table, "kmeans")
    run(mine, "git checkout params.yaml dvc.lock && dvc checkout")
    assert (mine / "data/select/picks.csv").read_bytes() == before
    beside = run(mine, "python -m stages.compare . .@kmeans --out ../compare.html")
    assert re.search(
        r"^\.@kmeans beside \.: \S+ points .* test images \d+ are right in \.@kmeans alone", beside, re.MULTILINE
    )
    assert re.search(r"select.method +auto +kmeans|select.method +kmeans +auto", run(mine, diff))
    run(mine, apply)
    assert re.search(
        r"^  method: kmeans", (mine / "params.yaml").read_text(), re.MULTILINE
    )  # its picks may be the same
    assert stage_lines(run(mine, "dvc repro")) == []
    assert status(mine) == [" M dvc.lock", " M params.yaml"]
    keep, again, compare = IN_FOLDER.compare.splitlines()  # the report names these
    run(mine, f"{keep} && {keep}")
    run(mine, f"git checkout params.yaml && {again}")
    assert re.search(r"^\. beside \.@before: \S+ points", run(mine, compare), re.MULTILINE)
    run(mine, "git checkout params.yaml dvc.lock && dvc checkout && rm compare.html")


@pytest.mark.slow
def test_apart_from_the_folder(mine):
    """Shards are found from a temporary checkout, and those that it makes outlive it."""
    temp, queue, start, show = commands("Apart from the folder")
    run(mine, temp.replace("-n rdss", "-n rdss -S ingest.max_side=7"))
    run(mine, queue)
    run(mine, start)
    deadline = time.monotonic() + 600
    while "Queued" in (said := run(mine, show)) or "Running" in said:
        assert time.monotonic() < deadline
        time.sleep(2)
    assert said.count("Success") == 2, run(mine, "dvc queue logs $(dvc queue status | awk '/Failed/ {print $1; exit}')")
    assert status(mine) == []
    run(mine, "dvc exp apply rdss")
    shards = (mine / "data/ingest/manifest.json").read_text(encoding="utf-8")
    assert all((mine / shard).is_file() for shard in re.findall(r"data/shards/[\w./-]+\.tar", shards))
    assert stage_lines(run(mine, "dvc repro")) == []
    run(mine, "git checkout params.yaml dvc.lock && dvc checkout")


@pytest.mark.slow
def test_rounds_of_labels(mine):
    """The first one with labels that a person brings; a queued try after it has the labels, which are not committed."""
    first, keep, second, show, get = commands("Rounds of labels")
    by_hand = "dvc exp run -n round-0 -S label.source=file"
    assert "labels.csv: expected" in run(mine, by_hand, code=255)
    header, rows = read_csv(mine / "data/annotations/template.csv", ("rank", "key"))
    answers = {key: label for key, label, *_ in read_csv(mine / "data/ingest/answers.csv", ("key", "label"))[1]}
    keys = [row[header.index("key")] for row in rows]
    table = "\n".join(["key,label", *(f"{key},{answers[key]}" for key in keys)])
    (mine / "data/annotations/labels.csv").write_text(table, encoding="utf-8")
    run(mine, first)
    run(mine, keep)
    run(mine, "dvc exp run --temp -n aside -S select.method=entropy -S label.source=answers")
    run(mine, f"{second} -S label.source=answers")
    seen = run(mine, show)
    assert [shown(seen, name)[0] for name in ("round-0", "aside", "round-1")] == ["20", "40", "40"]
    run(mine, get)
    assert len(read_csv(mine / "labels-0.csv", ("key", "label"))[1]) == 20
    run(mine, "dvc exp apply round-0")
    assert (mine / "data/annotations/labels.csv").read_text(encoding="utf-8") == table
    assert not [file for file in (mine / "data/rounds").glob("**/*") if file.is_symlink()]


def test_a_temporary_checkout_has_what_git_and_dvc_leave_behind(tmp_path, monkeypatch):
    data = tmp_path / "run/data"
    for name in ("images/0.png", "rounds/00/labels.csv", "rounds/outputs/head", "annotations/labels.csv", "raw/x"):
        (data / name).parent.mkdir(parents=True, exist_ok=True)
        (data / name).write_text("home")
    here = tmp_path / "run/.dvc/tmp/exps/standalone/tmp1"
    shutil.copytree(data / "annotations", here / "data/annotations")
    (here / "data/annotations/labels.csv").write_text("of git")
    monkeypatch.chdir(here)
    for file in ("Makefile", "stages/images.py"):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).touch()
    monkeypatch.setattr(sys, "prefix", str(tmp_path / ".venv"))
    assert typed_here().again == "make images RUN=run"  # the temporary checkout is gone when it is read
    bring_from_home()
    bring_from_home()
    linked = {str(path.relative_to(here)) for path in here.glob("data/**/*") if path.is_symlink()}
    assert linked == {"data/images/0.png", "data/rounds/outputs", "data/raw", "data/shards"}
    assert (here / "data/rounds/00/labels.csv").read_text() == "home"
    assert (here / "data/annotations/labels.csv").read_text() == "of git"
    monkeypatch.chdir(tmp_path / "run")
    before = {path: sha256(path) for path in data.glob("**/*") if path.is_file()}
    bring_from_home()
    assert {path: sha256(path) for path in data.glob("**/*") if path.is_file()} == before
