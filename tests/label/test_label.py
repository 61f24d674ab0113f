"""Labels for the picks: looked up, or a person's; every refusal word for word, and the page with its script."""

import base64
import csv
import html
import json
import re
import shutil
import subprocess
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from pipeline.artifacts.labels import Classes, Labels, Sources
from pipeline.artifacts.picks import Selection
from pipeline.artifacts.shards import Index, Manifest, Shard
from pipeline.base.errors import SourceError
from pipeline.base.files import sha256, write_csv
from pipeline.label.run import offer_template, read_labels
from pipeline.shards.decode import encode
from stages.label import main

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.usefixtures("here")
FILE = Path("data/annotations/labels.csv")
TEMPLATE = FILE.with_name("template.csv")
NAMES = ["ant & bee", "cat", "dog"]
KEYS = [f"key{i}" for i in range(8)]  # the last two are test images
PICKS = ["key4", "key1", "key3"]
FROM_FILE = ("--set", "label.source=file")


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Eight images in one shard: key i is i + 1 pixels high, all its pixels have the value 10 i."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "params.yaml", tmp_path)
    ingest, shard = Path("data/ingest"), Path("data/shards/one.tar")
    blobs = [encode(np.full((1, i + 1, 6), 10 * i, np.uint8)) for i in range(8)]
    shard.parent.mkdir(parents=True)
    shard.write_bytes(b"".join(blobs))
    sizes = np.array([len(blob) for blob in blobs])
    split = ["train"] * 6 + ["test"] * 2
    ingest.mkdir()
    Index(KEYS, split, [str(shard)] * 8, np.cumsum(sizes) - sizes, sizes).write(ingest / "index.parquet")
    facts = str(shard), shard.stat().st_size, sha256(shard)
    splits = {"train": [Shard(*facts, 6)], "test": [Shard(*facts, 2)]}
    Manifest("folder", 1, (8, 8), splits, []).write(ingest / "manifest.json")
    Sources({key: f'some, "odd" <b>/{key}.png' for key in KEYS}).write(ingest / "sources.csv")
    Labels(["label"], {key: [NAMES[i % 3]] for i, key in enumerate(KEYS)}).write(ingest / "answers.csv")
    Classes({"label": NAMES}).write(ingest / "classes.json")
    Path("data/select").mkdir()
    Selection(PICKS, np.array([3.0, 2.0, 1.0])).write(Path("data/select/picks.csv"))


def run(*arguments):
    return CliRunner().invoke(main, list(arguments))


def refusal(*arguments):
    done = run(*arguments)
    assert done.exit_code == 1
    assert done.stderr.count("\n") == 1
    return done.stderr.removeprefix("Error: ").strip()


def labelled(text):
    FILE.parent.mkdir(parents=True, exist_ok=True)
    FILE.write_text(text, encoding="utf-8")


def written():
    return Path("data/label/labels.csv").read_text()


def page():
    return Path("data/label/page.html").read_text(encoding="utf-8")


# From the answers


def test_answers_are_looked_up_for_the_picks_alone():
    done = run()
    assert (done.exit_code, done.stdout) == (0, "answers: 3 labels\n")
    assert written() == "key,label\nkey1,cat\nkey3,ant & bee\nkey4,cat\n"
    assert sorted(p.name for p in Path("data/label").iterdir()) == ["labels.csv", "page.html"]
    assert not FILE.parent.exists()


def test_labels_of_finished_rounds_join_those_of_the_picks():
    Labels(["label"], {"key0": ["dog"], "key5": ["cat"]}).write(Path("data/rounds/00/labels.csv"))
    done = run()
    assert (done.exit_code, done.stdout) == (0, "answers: 3 labels\n")
    assert written() == "key,label\nkey0,dog\nkey1,cat\nkey3,ant & bee\nkey4,cat\nkey5,cat\n"
    assert "key0" not in page()


def test_coarser_levels_come_along():
    rows = {key: ["dog", ""] if key == "key3" else ["cat", "pet" if key == "key4" else ""] for key in KEYS}
    Labels(["label", "group"], rows).write(Path("data/ingest/answers.csv"))
    assert run().exit_code == 0
    assert written() == "key,label,group\nkey1,cat,pet\nkey3,dog,\nkey4,cat,pet\n"  # once a class is enough


def test_rounds_have_the_levels_that_are_known_and_no_other_columns():
    """A person's file of earlier labels may have further columns; a later coarse name replaces no fine one."""
    two_levels()
    home = Path("data/rounds/00")
    home.mkdir(parents=True)
    (home / "labels.csv").write_text(
        "key,label,path,group\nkey0,dog,x.png,\nkey5,,y.png,insect\nkey3,ant & bee,z.png,\n"
    )
    assert run(*COARSE).exit_code == 0
    assert written() == (
        "key,label,group\nkey0,dog,\nkey1,cat,pet\nkey3,ant & bee,insect\nkey4,cat,pet\nkey5,,insect\n"
    )


def test_a_pick_without_answer_is_refused_by_key():
    Labels(["label"], {"key4": ["cat"], "key1": [""]}).write(Path("data/ingest/answers.csv"))
    assert refusal() == (
        "data/ingest/answers.csv: expected an answer for every pick, got none for key1, key3; "
        "where there are no answers, set label.source=file"
    )
    assert not Path("data/label").exists()


def test_a_pick_that_is_no_training_image_is_refused():
    Selection(["key4", "key7"], np.array([1.0, 0.0])).write(Path("data/select/picks.csv"))
    assert refusal() == (
        "data/select/picks.csv: key key7: expected a training image of data/ingest, got one that is not there"
    )


def test_a_changed_shard_is_named():
    Path("data/shards/one.tar").write_bytes(b"")
    assert refusal().startswith("data/shards/one.tar: expected the shard of ")
    assert not Path("data/label").exists()


# From a person

UNKNOWN = "expected a training image's key, got one that no training image has"


def test_without_labels_it_says_where_everything_lies():
    assert refusal(*FROM_FILE) == (
        "data/annotations/labels.csv: expected labels for the 3 picks in data/select/picks.csv, found no file; "
        "type them into data/label/page.html, or fill in data/annotations/template.csv, "
        "and save as data/annotations/labels.csv"
    )
    assert [p.name for p in Path("data/label").iterdir()] == ["page.html"]
    with TEMPLATE.open(newline="") as file:
        assert list(csv.reader(file)) == [
            ["rank", "key", "path", "label"],
            *([str(rank), key, f'some, "odd" <b>/{key}.png', ""] for rank, key in enumerate(PICKS)),
        ]


def test_the_template_filled_in_and_renamed_is_a_labels_file():
    run(*FROM_FILE)
    with TEMPLATE.open(newline="") as file:
        header, *rows = csv.reader(file)
    write_csv(FILE, header, [[*row[:3], "dog"] for row in rows])
    done = run(*FROM_FILE)
    assert (done.exit_code, done.stdout) == (0, "file: 3 labels\n")
    assert written() == "key,label\nkey1,dog\nkey3,dog\nkey4,dog\n"


def test_a_template_with_somebodys_labels_is_never_overwritten():
    run(*FROM_FILE)
    TEMPLATE.write_text("rank,key,path,label\n0,key9,a.png,cat\n1,key2,b.png,\n")
    assert (
        "fill in data/annotations/template.csv (kept as it is: 1 labels of its own are filled in), and save"
        in refusal(*FROM_FILE)
    )
    assert TEMPLATE.read_text() == "rank,key,path,label\n0,key9,a.png,cat\n1,key2,b.png,\n"
    TEMPLATE.write_text("my notes\n")
    assert "template.csv (kept as it is: it is no table with a column label), and save" in refusal(*FROM_FILE)
    assert TEMPLATE.read_text() == "my notes\n"


def test_a_template_without_labels_follows_the_picks(tmp_path):
    file = tmp_path / "template.csv"
    none = Labels(["label"], {})
    assert offer_template(file, ["a"], Sources({"a": "x.png"}), none) == 0
    assert offer_template(file, ["b"], Sources({"b": "y.png"}), none) == 0
    assert file.read_text() == "rank,key,path,label\n0,b,y.png,\n"


MISSING = (
    f"{FILE}: expected labels for the 3 picks in data/select/picks.csv, got none for {{}}; "
    f"type them into data/label/page.html, or fill in {TEMPLATE}, and save as {FILE}"
)


@pytest.mark.parametrize(
    ("text", "found", "labels"),
    [
        ("key,label\nkey1,dog\nkey3,cat\n", "1 of them, such as key4", ["", "dog", "cat"]),
        ("key,label\nkey1,dog\nkey3, \nkey4,ant & bee\n", "1 of them, such as key3", ["ant & bee", "dog", ""]),
        ("key,label\nkey0,dog\n", "3 of them, such as key4", ["", "", ""]),
    ],
)
def test_labels_for_a_part_of_the_picks_are_filled_in_on_page_and_template(text, found, labels):
    labelled(text)
    assert refusal(*FROM_FILE) == MISSING.format(found)
    assert FILE.read_text() == text
    assert [p.name for p in Path("data/label").iterdir()] == ["page.html"]
    assert [html.unescape(value) for value in re.findall(r'<input [^>]*value="([^"]*)"', page())] == labels
    with TEMPLATE.open(newline="") as file:
        assert [(row["key"], row["label"]) for row in csv.DictReader(file)] == list(zip(PICKS, labels, strict=True))


def test_a_template_filled_in_from_the_file_follows_the_picks_and_keeps_coarser_levels():
    Classes({"label": NAMES, "group": ["pet"]}).write(Path("data/ingest/classes.json"))
    labelled("key,label,group\nkey1,dog,pet\n")
    refusal(*FROM_FILE)
    Selection(["key1", "key0"], np.array([3.0, 2.0])).write(Path("data/select/picks.csv"))
    refusal(*FROM_FILE)
    path = '"some, ""odd"" <b>/key{}.png"'
    assert TEMPLATE.read_text() == (
        f"rank,key,path,label,group\n0,key1,{path.format(1)},dog,pet\n1,key0,{path.format(0)},,\n"
    )
    Selection(["key0"], np.array([3.0])).write(Path("data/select/picks.csv"))
    refusal(*FROM_FILE)  # the label of key1 is in the file still
    assert TEMPLATE.read_text() == f"rank,key,path,label,group\n0,key0,{path.format(0)},,\n"


def test_other_columns_orders_marks_and_images_are_welcome():
    labelled("\ufeffnote,label,key\nx, dog ,key1\nx,cat,key3\n,cat,key4\nold,cat,key0\n,,key2\nx,dog,key1\n")
    assert run(*FROM_FILE).exit_code == 0
    assert written() == "key,label\nkey1,dog\nkey3,cat\nkey4,cat\n"


def test_a_coarser_level_that_classes_knows_is_read():
    Classes({"label": NAMES, "group": ["pet", "insect"]}).write(Path("data/ingest/classes.json"))
    labelled("key,group,label\nkey1,,dog\nkey3,,cat\nkey4,pet,cat\n")  # once a class is enough
    assert run(*FROM_FILE).exit_code == 0
    assert written() == "key,label,group\nkey1,dog,\nkey3,cat,pet\nkey4,cat,pet\n"
    labelled("key,group,label\nkey1,bird,dog\nkey3,,cat\nkey4,pet,cat\n")
    assert refusal(*FROM_FILE) == f"{FILE}: key key1: expected a group among pet, insect, got 'bird'"


def test_a_class_below_two_coarser_ones_is_refused():
    Classes({"label": NAMES, "group": ["pet", "insect"]}).write(Path("data/ingest/classes.json"))
    labelled("key,group,label\nkey1,pet,dog\nkey3,insect,dog\nkey4,pet,cat\n")
    assert refusal(*FROM_FILE) == f"{FILE}: key key3: expected one class above 'dog', got 'pet' and 'insect'"


COARSE = ("--set", "label.coarse_budget=1")
TOO_COARSE = "label.coarse_budget: expected less than the 3 picks, for some need a label of the finest level"
BELOW = "label.coarse_budget: expected a number of picks or a list of such, none below 0"


def two_levels():
    """Answers with a coarser level, whose name comes before `label` in the alphabet."""
    rows = {key: [NAMES[i % 3], "insect" if i % 3 == 0 else "pet"] for i, key in enumerate(KEYS)}
    Labels(["label", "group"], rows).write(Path("data/ingest/answers.csv"))
    Classes({"label": NAMES, "group": ["insect", "pet"]}).write(Path("data/ingest/classes.json"))


def test_the_last_picks_get_a_coarse_label_alone():
    two_levels()
    done = run(*COARSE)
    assert (done.exit_code, done.stdout) == (0, "answers: 3 labels, 1 of them coarse\n")
    assert written() == "key,label,group\nkey1,cat,pet\nkey3,,insect\nkey4,cat,pet\n"
    assert re.findall(r"<b>(.*)</b>", page()) == ["cat / pet", "cat / pet", "insect"]


def test_a_budget_for_each_of_several_coarser_levels():
    rows = {key: ["cat", "pet", "animal"] for key in KEYS}
    Labels(["label", "a", "b"], rows).write(Path("data/ingest/answers.csv"))
    assert run("--set", "label.coarse_budget=[1, 1]").exit_code == 0
    assert written() == "key,label,a,b\nkey1,,pet,animal\nkey3,,,animal\nkey4,cat,pet,animal\n"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("3", f"{TOO_COARSE}, got 3"),
        ("[1, 2]", f"{TOO_COARSE}, got 3"),
        ("[0, 1]", "data/ingest/answers.csv: expected 3 levels for label.coarse_budget, got label, group"),
        ("-1", f"params.yaml: {BELOW}, got -1"),
        ("[1, -1]", f"params.yaml: {BELOW}, got [1, -1]"),
    ],
)  # fmt: skip
def test_coarse_budgets_that_cannot_be(value, message):
    two_levels()
    assert refusal("--set", f"label.coarse_budget={value}") == message


def test_an_unknown_coarse_answer_of_a_coarse_pick_is_refused():
    Labels(["label", "group"], {key: ["cat", "pet" if key != "key3" else ""] for key in KEYS}).write(
        Path("data/ingest/answers.csv")
    )
    assert "expected an answer for every pick, got none for key3; " in refusal(*COARSE)


def test_a_person_labels_the_last_picks_coarsely():
    """Without known classes: the template has a coarser column, the page a field for each level that is asked for."""
    Classes({"label": []}).write(Path("data/ingest/classes.json"))
    Labels(["label"], {}).write(Path("data/ingest/answers.csv"))
    refusal(*FROM_FILE, *COARSE)
    assert TEMPLATE.read_text().splitlines()[0] == "rank,key,path,label,coarse"
    fields = re.findall(r'data-key="(\w+)" .*? data-level="(\w+)" data-needed="(1?)"', page())
    assert fields == [
        ("key4", "label", "1"), ("key4", "coarse", ""), ("key1", "label", "1"), ("key1", "coarse", ""),
        ("key3", "coarse", "1"),
    ]  # fmt: skip
    labelled("key,label\nkey4,cat\nkey1,cat\n")  # the column that is missing is asked for all the same
    assert "got none for 1 of them, such as key3" in refusal(*FROM_FILE, *COARSE)
    assert len(re.findall(r"<input ", page())) == len(fields)
    assert TEMPLATE.read_text().splitlines()[0] == "rank,key,path,label,coarse"
    labelled("key,label,coarse\nkey4,cat,pet\nkey1,cat,\nkey3,,insect\n")
    assert run(*FROM_FILE, *COARSE).exit_code == 0
    assert written() == "key,label,coarse\nkey1,cat,pet\nkey3,,insect\nkey4,cat,pet\n"
    labelled("key,label,coarse\nkey4,cat,pet\nkey1,cat,\nkey3,ant,\n")  # a finer label than was asked for is welcome
    assert run(*FROM_FILE, *COARSE).exit_code == 0
    assert written() == "key,label,coarse\nkey1,cat,pet\nkey3,ant,\nkey4,cat,pet\n"


def test_without_known_classes_any_name_will_do():
    Classes({"label": []}).write(Path("data/ingest/classes.json"))
    labelled("key,label\nkey1,new\nkey3,names\nkey4,here\n")
    assert run(*FROM_FILE).exit_code == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("key,label\nkey1,dog\nkey3,cat\nkey4,cat\nkey9,cat\n", f"key key9: {UNKNOWN}"),
        ("key,label\nkey1,dog\nkey3,cat\nkey4,cat\nkey6,cat\n", f"key key6: {UNKNOWN}"),
        ("key,label\nkey1,dog\nkey1,cat\nkey3,cat\nkey4,cat\n", "key key1: expected one label, got 'dog' and 'cat'"),
        ("key,label\nkey1,Dog\n", "key key1: expected a label among ant & bee, cat, dog, got 'Dog'"),
        ('key,label\nkey1,"a\nb"\n', "key key1: expected a label of one line, got 'a\\nb'"),
        ("key,label,label\nkey1,dog,cat\n", "expected each column once, got label twice"),
        ("key;label\nkey1;dog\n", "expected the columns key and label, got key;label"),
        ("", "expected the columns key and label, got nothing"),
        ("key,label\nkey1\n", "line 2: expected 2 values, got 1"),
    ],
)  # fmt: skip
def test_a_persons_file_is_refused(text, message):
    labelled(text)
    assert refusal(*FROM_FILE) == f"{FILE}: {message}"
    assert not Path("data/label").exists()
    assert FILE.read_text() == text


def test_long_lists_in_messages_are_cut(tmp_path):
    file = tmp_path / "labels.csv"
    file.write_text("key,label\nk0,zebra\n")
    with pytest.raises(SourceError) as error:
        read_labels(file, ["k0"], Classes({"label": [f"c{i}" for i in range(100)]}))
    assert str(error.value).endswith("among c0, c1, c2, c3, c4, c5, c6, c7, c8, c9 and 90 more, got 'zebra'")


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        ("label.source=oracle", "params.yaml: label.source: expected one of answers, file, got 'oracle'"),
        ("label.answers.path=x", "params.yaml: label.answers: unknown ['path']"),
        ("label.speed=1", "params.yaml: label: unknown ['speed']"),
    ],
)
def test_params_are_refused(sets, message):
    assert refusal("--set", sets) == message


def test_the_file_cannot_have_the_template_s_name():
    assert refusal(*FROM_FILE, "--set", "label.file.path=a/template.csv") == (
        "params.yaml: label.file.path: expected a file of another name than template.csv, which is written beside it, "
        "got 'a/template.csv'"
    )


# The page


def test_the_page_shows_each_pick_once_and_nothing_else():
    refusal(*FROM_FILE)
    text = page()
    assert re.findall(r'data-key="(\w+)"', text) == PICKS
    shown = [base64.b64decode(data) for data in re.findall(r"data:image/png;base64,([^\"]+)", text)]
    heights = [Image.open(BytesIO(data)).height for data in shown]
    assert heights == [5, 2, 4]
    assert "http" not in text  # it needs nothing from outside
    assert "some, &#34;odd&#34; &lt;b&gt;/key4.png" in text
    assert re.findall(r'<option value="([^"]+)">', text) == ["ant &amp; bee", "cat", "dog"]
    assert not any(key in text for key in set(KEYS) - set(PICKS))


def test_the_page_shows_the_labels_of_the_picks_and_of_no_other_image():
    rows = {key: [f"class of {key}"] for key in KEYS}
    Labels(["label"], rows).write(Path("data/ingest/answers.csv"))
    assert run().exit_code == 0
    text = page()
    assert re.findall(r"<b>(class of \w+)</b>", text) == [f"class of {key}" for key in PICKS]
    assert re.findall("class of", text) == ["class of"] * 3
    assert "<input" not in text
    assert "<script" not in text


def test_large_pictures_are_bounded_and_small_ones_stay_crisp():
    blob = encode(np.zeros((1, 600, 900), np.uint8))
    shard = Path("data/shards/one.tar")
    before = shard.stat().st_size
    shard.write_bytes(shard.read_bytes() + blob)
    index = Index.read(Path("data/ingest/index.parquet"))
    index.offset[4], index.size[4] = before, len(blob)
    index.write(Path("data/ingest/index.parquet"))
    manifest = json.loads(Path("data/ingest/manifest.json").read_text())
    for split in manifest["splits"].values():
        split["shards"][0] |= {"bytes": shard.stat().st_size, "sha256": sha256(shard)}
    Path("data/ingest/manifest.json").write_text(json.dumps(manifest))
    assert run().exit_code == 0
    data = re.findall(r"data:image/png;base64,([^\"]+)", page())[0]
    assert Image.open(BytesIO(base64.b64decode(data))).size == (224, 149)
    assert page().count('class="tiny"') == 2


def test_the_same_inputs_give_the_same_bytes():
    found = []
    for _ in range(2):
        assert run().exit_code == 0
        found.append([p.read_bytes() for p in sorted(Path("data/label").iterdir())])
    assert found[0] == found[1]


BROWSER = """
const fs = require("fs");
const text = fs.readFileSync("data/label/page.html", "utf8");
const kept = new Map(JSON.parse(process.argv[2]));
const saved = [];
class Element {
  constructor(dataset) { this.dataset = dataset; this.value = ""; this.on = {}; }
  addEventListener(name, run) { this.on[name] = run; }
  focus() { focused = this; }
  click() { saved.push([this.download, this.href]); }
}
let focused = null;
const marks = { "&#34;": '"', "&lt;": "<", "&gt;": ">", "&amp;": "&" };
const unescape = (s) => s.replace(/&#34;|&lt;|&gt;|&amp;/g, (mark) => marks[mark]);
const inputs = [...text.matchAll(/<input [^>]*>/g)].map(([tag]) => {
  const data = [...tag.matchAll(/data-(\\w+)="([^"]*)"/g)].map(([, name, value]) => [name, unescape(value)]);
  const element = new Element(Object.fromEntries(data));
  element.value = unescape(tag.match(/ value="([^"]*)"/)[1]);
  return element;
});
const byId = { count: new Element({}), save: new Element({}) };
const createElement = () => new Element({});
globalThis.document = { querySelectorAll: () => inputs, getElementById: (id) => byId[id], createElement };
const [setItem, removeItem] = [(k, v) => kept.set(k, v), (k) => kept.delete(k)];
globalThis.localStorage = { getItem: (k) => kept.get(k) ?? null, setItem, removeItem };
globalThis.Blob = class { constructor(parts) { this.text = parts.join(""); } };
globalThis.URL = { createObjectURL: (blob) => blob.text, revokeObjectURL: () => {} };
(0, eval)(text.match(/<script>([^]*)<\\/script>/)[1]);
const start = inputs.indexOf(focused);
for (const [at, value] of JSON.parse(process.argv[3])) {
  inputs[at].value = value;
  inputs[at].on.input();
  inputs[at].on.keydown({ key: "Enter", preventDefault() {} });
}
const end = focused === byId.save ? "save" : inputs.indexOf(focused);
byId.save.on.click();
console.log(JSON.stringify({ start, end, count: byId.count.textContent, kept: [...kept], saved }));
"""


@pytest.mark.skipif(shutil.which("node") is None, reason="node runs the page's script")
def test_the_script_keeps_what_is_typed_and_saves_a_file_that_the_stage_reads():
    refusal(*FROM_FILE)

    def use(kept, typed):
        command = ["node", "-", json.dumps(kept), json.dumps(typed)]
        done = subprocess.run(command, input=BROWSER, capture_output=True, text=True, check=True)
        return json.loads(done.stdout)

    first = use([], [[0, "cat"], [1, "ant & bee"]])
    assert (first["start"], first["end"], first["count"]) == (0, 2, "2 of 3 labelled")
    second = use(first["kept"], [[2, 'dog, the "third"']])
    assert (second["start"], second["end"], second["count"]) == (2, "save", "3 of 3 labelled")
    assert use(second["kept"], [[0, ""]])["count"] == "2 of 3 labelled"
    labelled("key,label\nkey1,dog\nkey3,cat\n")  # what the browser holds is said last
    refusal(*FROM_FILE)
    partial = use(first["kept"], [])
    assert (partial["start"], partial["count"]) == (0, "3 of 3 labelled")
    assert re.findall(r",(\S[^,]*)\n", partial["saved"][0][1]) == ["label", "cat", "ant & bee", "cat"]
    [[name, text]] = second["saved"]
    assert name == "labels.csv"
    Classes({"label": []}).write(Path("data/ingest/classes.json"))
    labelled(text)
    assert run(*FROM_FILE).exit_code == 0
    assert written() == 'key,label\nkey1,ant & bee\nkey3,"dog, the ""third"""\nkey4,cat\n'


@pytest.mark.skipif(shutil.which("node") is None, reason="node runs the page's script")
def test_the_script_saves_a_column_for_each_level():
    Classes({"label": []}).write(Path("data/ingest/classes.json"))
    refusal(*FROM_FILE, *COARSE)
    typed = [[0, "cat"], [1, "pet"], [2, "cat"], [4, "insect"]]
    command = ["node", "-", "[]", json.dumps(typed)]
    done = json.loads(subprocess.run(command, input=BROWSER, capture_output=True, text=True, check=True).stdout)
    assert (done["start"], done["end"], done["count"]) == (0, "save", "3 of 3 labelled")
    labelled(done["saved"][0][1])
    assert run(*FROM_FILE, *COARSE).exit_code == 0
    assert written() == "key,label,coarse\nkey1,cat,pet\nkey3,,insect\nkey4,cat,pet\n"


def test_classes_of_which_no_row_says_what_is_above_them_are_named(caplog):
    Classes({"label": []}).write(Path("data/ingest/classes.json"))
    Labels(["label"], {}).write(Path("data/ingest/answers.csv"))
    labelled("key,label,coarse\nkey4,cat,pet\nkey1,ant,\nkey3,,insect\n")
    with caplog.at_level("WARNING"):
        assert run(*FROM_FILE, *COARSE).stdout == "file: 3 labels, 1 of them coarse\n"
    assert caplog.messages == ["no row says which coarse is above ant: write it once for each class"]
