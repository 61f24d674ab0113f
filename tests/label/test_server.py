"""The server of the label page: a real process, asked over the network as a page and as an attacker would."""

import json
import signal
import socket
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import pytest

from pipeline.artifacts.labels import Sources
from pipeline.base.files import read_csv
from pipeline.new_run import MARK, new_run
from tests.label.served import SAID, ask, say, served
from tests.label.small_set import (
    FILE,
    FROM_FILE,
    INGEST,
    KEYS,
    PICKS,
    labelled,
    labels,
    pick,
    refusal,
)


@pytest.mark.usefixtures("_asked")
def test_each_label_is_in_the_file_at_once_and_outlives_kill():
    with served() as (url, process):
        assert ask(url)[1].startswith(b"<!doctype html>")
        assert say(url, {"key": PICKS[0], "label": "cat", **SAID}) == {"said": 1, "refused": []}
        say(url, {"key": PICKS[2], "label": "[skip]", **SAID}, {"key": "key0", "label": "dog", "how": "typed"})
        process.send_signal(signal.SIGKILL)
    header, rows = read_csv(FILE, ())
    assert header == ["rank", "key", "path", "picture", "label", "how", "seconds", "not"]
    assert [[row[0], row[1], *row[4:7]] for row in rows] == [
        ["0", "key4", "cat", "key", "1.2"],
        ["2", "key3", "[skip]", "key", "1.2"],
        ["", "key0", "dog", "typed", ""],  # no pick
    ]
    with served() as (url, _):
        assert json.loads(ask(f"{url}labels")[1])["rows"]["key4"] == {
            **SAID,
            "label": "cat",
            "seconds": "1.2",
            "not": "",
        }
        say(url, {"key": PICKS[0], "label": "", **SAID}, {"key": PICKS[1], "label": " ant & bee "})  # undone
    with served() as (url, _):
        assert json.loads(ask(f"{url}labels")[1])["rows"]["key4"]["label"] == ""  # a reload does not bring it back
    assert [row[1] for row in read_csv(FILE, ())[1] if row[4]] == ["key1", "key3", "key0"]
    assert labels(*FROM_FILE)[0] == "key,label\nkey0,dog\nkey1,ant & bee\n"


NO_CHANGES = [
    ("cat", "rows: expected a list, got str"),
    (["cat"], "rows: expected a key in each, got cat"),
    ([{"key": "key4", "label": "dog"}, {"label": "cat"}], "rows: expected a key in each, got {'label'"),
]
NO_LABELS = [
    ({"key": "key7", "label": "cat"}, "it is no training image"),  # a test image
    ({"key": "../x", "label": "cat"}, "it is no training image"),
    ({"key": "key1", "label": 3}, "label: expected a text"),
    ({"key": "key1", "label": "x" * 201}, "label: expected a text of at most 200"),
    ({"key": "key1", "split": "test"}, "expected label, how, seconds, not, got split"),
    ({"key": "key1", "label": "cat", "seconds": -1}, "seconds: expected a number"),
    ({"key": "key1", "label": "cat", "seconds": True}, "seconds: expected a number"),
    ({"key": "key1", "label": None}, "label: expected a text"),
]


@pytest.mark.usefixtures("_asked")
def test_what_is_no_label_is_refused_and_nothing_of_it_written():
    with served() as (url, _):
        for rows, says in NO_CHANGES:
            status, answer = ask(f"{url}labels", {"rows": rows})
            assert (status, json.loads(answer).get("error", "")[: len(says)]) == (400, says)
        assert ask(f"{url}labels", b"{nothing")[0] == 400
        assert not FILE.exists()
        for number, (row, says) in enumerate(NO_LABELS, start=1):  # each beside one that is a label
            answer = say(url, row, {"key": "key4", "label": f"dog {number}"})
            assert [one["key"] for one in answer["refused"]] == [row["key"]]
            assert answer["refused"][0]["error"].startswith(says)
            assert [line[1:5:3] for line in read_csv(FILE, ())[1]] == [["key4", f"dog {number}"]]


@pytest.mark.usefixtures("_asked")
def test_others_are_refused():
    with served() as (url, _):
        base = url.rsplit("/", 2)[0]
        rows = {"rows": [{"key": PICKS[0], "label": "cat"}]}
        for address in (
            base,
            f"{base}/",
            f"{base}/labels",
            f"{base}/wrong/labels",
            f"{base}/é/labels".encode().decode(),
        ):
            assert ask(urllib.parse.quote(address, safe=":/"), rows)[0] == 403
        for name, value in [
            ("Origin", "http://example.org"),
            ("Origin", "null"),
            ("Origin", base.replace("127.0.0.1", "localhost")),
            ("Sec_Fetch_Site", "cross-site"),
            ("Host", "example.org"),
        ]:
            assert ask(f"{url}labels", rows, **{name: value})[0] == 403
            assert ask(url, **{name: value})[0] == 403
        assert ask(f"{url}labels", b"x" * 5_000_000)[0] == 413
        for path in (
            "report/../params.yaml",
            "report/..%2F..%2Fparams.yaml",
            "report/%2Fetc%2Fpasswd",
            "../params.yaml",
        ):
            assert ask(f"{url}{path}")[0] in (403, 404)
        for path in (
            "ingest/answers.csv",
            "label/labels.csv",
            "select/..%2Fingest%2Fanswers.csv",
            "annotations/labels.csv",
        ):
            assert ask(f"{url}{path}")[0] == 404
        assert ask(f"{url}select/picks.csv")[1].startswith(b"rank,key")  # the report has a link to it
        assert ask(f"{url}picture?key=..%2Fkey1")[0] == 404
        assert ask(f"{url}picture?key=key1")[1][:8] == b"\x89PNG\r\n\x1a\n"
        assert not FILE.exists()
        with socket.socket() as other:  # from another address of this machine
            assert other.connect_ex(("127.0.0.2", int(base.rpartition(":")[2])))


@pytest.mark.usefixtures("_asked")
def test_the_page_of_before_is_shown_while_the_stage_makes_another():
    page = Path("data/label/page.html")
    with served() as (url, _):
        assert ask(url.rpartition("/")[0].rpartition("/")[0] + "/favicon.ico") == (204, b"")
        before = page.read_bytes()
        page.unlink()
        assert ask(url) == (200, before)
        page.write_text("another")
        assert ask(url) == (200, b"another")


@pytest.mark.usefixtures("_asked")
def test_a_page_that_was_made_anew_is_served_with_its_images():
    with served() as (url, _):
        say(url, {"key": "key1", "label": "dog"})
        sources, picks = INGEST / "sources.csv", Path("data/select/picks.csv")
        away = [file.rename(file.with_suffix(".away")) for file in (sources, picks)]  # as while the chain makes them
        say(url, {"key": "key3", "label": "dog"})
        for file in away:
            file.unlink()
        Sources({key: f"new/{key}" for key in KEYS}, {key: f"new of {key}" for key in KEYS}).write(sources)
        pick("key5", "key3")
        say(url, {"key": "key5", "label": "cat"})
    assert [row[:5] for row in read_csv(FILE, ())[1]] == [
        ["0", "key5", "new/key5", "new of key5", "cat"],
        ["1", "key3", "new/key3", "", "dog"],
        ["", "key1", "new/key1", "", "dog"],
    ]


@pytest.mark.usefixtures("_asked")
def test_the_address_stays_for_a_run_and_nobody_else_can_read_it():
    kept = Path("data/.label-server")
    with served() as (first, _):
        assert kept.stat().st_mode & 0o777 == 0o600
        assert refusal("--serve", *FROM_FILE, "--port", "0") == (
            f"{kept}: expected no other server of this run, got {first}; open that one"
        )
    with socket.socket() as stranger:
        stranger.bind(("127.0.0.1", int(first.split(":")[2].split("/")[0])))
        stranger.listen()
        with served() as (other, _):  # the port is taken
            assert other != first
            assert other.split("/")[3] == first.split("/")[3]
    refusal(*FROM_FILE)  # the stage replaces its folder
    with served() as (again, _):
        assert again == other
    kept.chmod(0o644)
    with served() as (new, _):
        assert new.split("/")[3] != again.split("/")[3]
        assert kept.stat().st_mode & 0o777 == 0o600


@pytest.mark.usefixtures("_asked")
def test_a_run_with_its_own_code_says_in_which_folder_its_server_is_started_again():
    Path(MARK).touch()  # laid out before, so it keeps its data
    new_run(Path(), [], [])
    with served() as (url, _):
        again = json.loads(ask(f"{url}labels")[1])["again"]
    assert again == f"in the folder {Path.cwd()}: `python -m stages.label --serve`"


@pytest.mark.usefixtures("_asked")
def test_a_full_disk_loses_nothing():
    before = "key,label\nkey4,cat\n"
    labelled(before)
    with served(limit=60) as (url, _):
        answer = say(url, {"key": PICKS[1], "label": "dog", **SAID}, code=507)
        assert answer["error"].startswith("not saved: ")
    assert FILE.read_text() == before
    assert sorted(entry.name for entry in FILE.parent.iterdir()) == ["labels.csv", "template.csv"]


@pytest.mark.usefixtures("_asked")
def test_finish_runs_the_chain_and_says_how_it_goes():
    with served() as (url, process):  # here is no repository of DVC
        assert json.loads(ask(f"{url}progress")[1]) == {"state": "idle", "line": "", "report": None}
        assert json.loads(ask(f"{url}finish", {})[1])["state"] == "running"
        until = time.monotonic() + 60
        while (found := json.loads(ask(f"{url}progress")[1]))["state"] == "running" and time.monotonic() < until:
            time.sleep(0.2)
        assert found["state"] == "failed"
        assert "not inside of a DVC repository" in found["line"]
        assert [process.stdout.readline().strip() for _ in range(2)] == ["the chain starts", found["line"]]


@pytest.mark.usefixtures("_asked")
def test_what_cannot_be_served_is_refused():
    assert refusal("--serve") == "label.source: expected file, as a person labels, got answers"
    labelled("name\ncat\n")
    says = "expected the columns key and label, got name; label may be called class, cls, category too"
    assert refusal("--serve", *FROM_FILE) == f"{FILE}: {says}"
    FILE.unlink()
    Path("data/label/page.html").unlink()
    assert "expected the page that `dvc repro` makes" in refusal("--serve", *FROM_FILE)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        Path("data/label/page.html").touch()
        assert "address already in use" in refusal("--serve", *FROM_FILE, "--port", str(taken.getsockname()[1]))
