"""The folder to resume from: kept after a failure, gone after success, another for any change, one user at a time."""

import subprocess
import sys

import pytest

from pipeline.base.errors import TrainingError
from pipeline.base.scratch import scratch
from tests.refusals import refusal_of


def test_kept_after_failure_and_found_again(tmp_path):
    with pytest.raises(KeyError), scratch(tmp_path, "train", {"a": 1}) as folder:
        (folder / "state").write_text("half")
        raise KeyError
    with scratch(tmp_path, "train", {"a": 2}) as other:
        assert other != folder
        assert list(other.iterdir()) == []
    with scratch(tmp_path, "train", {"a": 1}) as again:
        assert (again / "state").read_text() == "half"
    assert not folder.exists()


def test_changed_code_is_another_folder(tmp_path, monkeypatch):
    with scratch(tmp_path, "train", {}) as before:
        pass
    changed = tmp_path / "rng.py"
    changed.write_text("# changed")
    monkeypatch.setattr(sys.modules["pipeline.base.scratch"], "__file__", str(changed))
    with scratch(tmp_path, "train", {}) as after:
        assert after != before


def test_a_second_process_is_refused_until_the_first_is_dead(tmp_path):
    code = f"""
from pathlib import Path
from pipeline.base.scratch import scratch
with scratch(Path({str(tmp_path)!r}), "train", {{}}):
    print("in", flush=True)
    input()
"""
    first = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert first.stdout.readline() == b"in\n"
    says = f"{tmp_path}/train.lock: expected no other train to run here, found one that holds the lock"
    assert refusal_of(scratch(tmp_path, "train", {"other": "params"}).__enter__, kind=TrainingError) == says
    first.kill()
    first.wait()
    first.stdin.close()
    first.stdout.close()
    with scratch(tmp_path, "train", {"other": "params"}) as folder:
        assert folder.is_dir()
