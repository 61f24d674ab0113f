"""Files are written whole or not at all."""

import subprocess
import sys

import pytest

from pipeline.base.errors import ArtifactError
from pipeline.base.files import read_csv, read_json, whole_file, whole_folder, write_csv, write_json
from tests.refusals import refusal_of


def below(folder):
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_a_block_that_fails_leaves_the_old_and_nothing_else_and_one_that_ends_well_replaces(tmp_path):
    (tmp_path / "folder").mkdir()
    for name in ("file", "folder/a"):
        (tmp_path / name).write_text("old")
    old = below(tmp_path)
    with pytest.raises(KeyError), whole_file(tmp_path / "file") as part:
        part.write_text("new")
        raise KeyError
    with pytest.raises(KeyError), whole_folder(tmp_path / "folder") as part:
        (part / "b").write_text("new")
        raise KeyError
    assert below(tmp_path) == old
    assert {path.name for path in tmp_path.iterdir()} == {"file", "folder"}
    with whole_folder(tmp_path / "folder") as part:
        (part / "a").write_text("new")
        (part / "b").write_text("new")
    assert below(tmp_path) == {"file": "old", "folder/a": "new", "folder/b": "new"}


def test_a_folder_that_holds_other_files_is_not_replaced(tmp_path):
    """A folder of our own is, with hidden files in it too; so an `--out` by mistake deletes nothing."""
    (tmp_path / "folder").mkdir()
    for name in ("notes.txt", "a", ".DS_Store"):
        (tmp_path / "folder" / name).write_text("mine")
    with pytest.raises(ArtifactError) as caught, whole_folder(tmp_path / "folder") as part:
        (part / "a").write_text("new")
    assert str(caught.value) == f"{tmp_path}/folder: expected a folder of this command's own, found notes.txt in it"
    assert (tmp_path / "folder" / "notes.txt").read_text() == (tmp_path / "folder" / "a").read_text() == "mine"
    with whole_folder(tmp_path / "folder", spare=("notes.txt",)) as part:
        (part / "a").write_text("new")
    assert [p.name for p in (tmp_path / "folder").iterdir()] == ["a"]


def test_a_full_disk_leaves_nothing(tmp_path):
    """A real limit on the size of files, in a process of its own."""
    code = f"""
import resource, signal
from pathlib import Path
from pipeline.base.files import write_json
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
write_json(Path({str(tmp_path / "x.json")!r}), {{"a": "b" * 5000}})
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "OSError: [Errno 27] File too large" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_same_value_same_bytes(tmp_path):
    write_json(tmp_path / "a", {"b": 1, "a": [1.5]})
    write_json(tmp_path / "b", {"a": [1.5], "b": 1})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "c", {"a": float("nan")})
    assert not (tmp_path / "c").exists()


def test_csv_of_a_spreadsheet(tmp_path):
    (tmp_path / "a.csv").write_bytes(b'\xef\xbb\xbfkey,label\r\nx,"a, b"\r\n\r\ny,c\r\n')
    assert read_csv(tmp_path / "a.csv", ("key", "label")) == (["key", "label"], [["x", "a, b"], ["y", "c"]])
    (tmp_path / "a.csv").write_text("key,,\nx,,\n")  # columns without a name may be many
    assert read_csv(tmp_path / "a.csv", ("key",)) == (["key", "", ""], [["x", "", ""]])
    write_csv(tmp_path / "b.csv", ("key", "label"), [("x", "a, b")])
    assert (tmp_path / "b.csv").read_bytes() == b'key,label\nx,"a, b"\n'


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252"])
@pytest.mark.parametrize(
    "text",
    [
        "key,label\nx,café\ny,dog\n",
        "Key;Label\r\nx;café\r\ny;dog\r\n",
        "KEY\tlabel\nx\tcafé\ny\tdog\n",
        '"sep=;"\r\nkey;label\r\nx;café\r\n;\r\n"y";dog\r\n',
        "sep=\t\nkey\tlabel\nx\tcafé\ny\tdog\n",
        ",\nkey,label\nx,café,,\ny,dog\n , \n\n,,\n",
        '"key","label"\n"x","café"\n"y","dog"\n',
    ],
)
def test_a_csv_as_spreadsheets_save_it(tmp_path, text, encoding):
    (tmp_path / "a.csv").write_bytes(text.encode(encoding))
    assert read_csv(tmp_path / "a.csv", ("key", "label")) == (["key", "label"], [["x", "café"], ["y", "dog"]])


def test_commas_in_quotes_separate_nothing(tmp_path):
    (tmp_path / "a.csv").write_text('key;"a, b, c"\nx;y\n')
    assert read_csv(tmp_path / "a.csv", ("key",)) == (["key", "a, b, c"], [["x", "y"]])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "a.csv: expected the columns key,label, got nothing"),
        (b"label,key\n", "a.csv: expected the columns key,label, got label,key"),
        (b"key,label\nx\n", "a.csv: line 2: expected 2 values, got 1"),
        (b"key,label,,,label\n", "a.csv: expected each column once, got label twice"),
        (
            b'key,label\nx,"' + b"y\n" * 70_000,
            "a.csv: line 65538: expected a CSV, got: field larger than field limit (131072)",
        ),
        (
            b"key,label\nx,\x81\n",
            "a.csv: expected text in UTF-8, got bytes of another code; save it as CSV UTF-8",
        ),
    ],
)
def test_csv_refusals(tmp_path, content, message):
    (tmp_path / "a.csv").write_bytes(content)
    assert refusal_of(read_csv, tmp_path / "a.csv", ("key", "label")) == f"{tmp_path}/{message}"


def test_json_refusals(tmp_path):
    file = tmp_path / "a.json"
    assert refusal_of(read_json, file) == f"{file}: expected a file, found none"
    for content, says in (("{", "expected JSON, got: "), ("[]", "expected a JSON object, got list")):
        file.write_text(content)
        assert refusal_of(read_json, file).startswith(f"{file}: {says}")
