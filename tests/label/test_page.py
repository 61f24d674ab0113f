"""The page: each pick once, with its picture and its label or fields; and the script of the fields."""

import base64
import json
import re
import shutil
import subprocess
from io import BytesIO

import pytest
from PIL import Image

from pipeline.artifacts.labels import Labels
from tests.label.small_set import (
    COARSE,
    FROM_FILE,
    INGEST,
    KEYS,
    PICKS,
    classes,
    labelled,
    labels,
    nothing_known,
    page,
    refusal,
    two_levels,
)


def pictures():
    found = re.findall(r"data:image/png;base64,([^\"]+)", page())
    return [Image.open(BytesIO(base64.b64decode(data))) for data in found]


def test_the_page_shows_each_pick_once_and_nothing_else():
    refusal(*FROM_FILE)
    text = page()
    assert re.findall(r'data-key="(\w+)"', text) == PICKS
    assert [picture.height for picture in pictures()] == [5, 2, 4]
    assert text.count('class="tiny"') == 3
    assert "http" not in text  # it needs nothing from outside
    assert "some, &#34;odd&#34; &lt;b&gt;/key4.png" in text
    assert re.findall(r'<option value="([^"]+)">', text) == ["ant &amp; bee", "cat", "dog"]
    assert not any(key in text for key in set(KEYS) - set(PICKS))


def test_the_page_shows_the_labels_of_the_picks_and_of_no_other_image():
    rows = {key: [f"class of {key}"] for key in KEYS}
    Labels(["label"], rows).write(INGEST / "answers.csv")
    labels()
    text = page()
    assert re.findall(r"<b>(class of \w+)</b>", text) == [f"class of {key}" for key in PICKS]
    assert re.findall("class of", text) == ["class of"] * 3
    assert "<input" not in text
    assert "<script" not in text


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
const elements = (name) => [...text.matchAll(new RegExp(`<${name} [^>]*>`, "g"))].map(([tag]) => {
  const data = [...tag.matchAll(/data-(\\w+)="([^"]*)"/g)].map(([, name, value]) => [name, unescape(value)]);
  const element = new Element(Object.fromEntries(data));
  element.value = unescape(tag.match(/ value="([^"]*)"/)?.[1] ?? "");
  return element;
});
const inputs = elements("input"), buttons = elements("button").filter((button) => button.dataset.mark);
const byId = { count: new Element({}), save: new Element({}) };
const createElement = () => new Element({});
const querySelectorAll = (what) => what.startsWith("input") ? inputs : buttons;
globalThis.document = { querySelectorAll, getElementById: (id) => byId[id], createElement };
const [setItem, removeItem] = [(k, v) => kept.set(k, v), (k) => kept.delete(k)];
globalThis.localStorage = { getItem: (k) => kept.get(k) ?? null, setItem, removeItem };
globalThis.Blob = class { constructor(parts) { this.text = parts.join(""); } };
globalThis.URL = { createObjectURL: (blob) => blob.text, revokeObjectURL: () => {} };
(0, eval)(text.match(/<script>([^]*)<\\/script>/)[1]);
const start = inputs.indexOf(focused);
for (const [at, value] of JSON.parse(process.argv[3])) {
  if (value === null) { buttons[at].on.click(); continue; }
  inputs[at].value = value;
  inputs[at].on.input();
  inputs[at].on.keydown({ key: "Enter", preventDefault() {} });
}
const end = focused === byId.save ? "save" : inputs.indexOf(focused);
byId.save.on.click();
console.log(JSON.stringify({ start, end, count: byId.count.textContent, kept: [...kept], saved }));
"""


def use(kept, typed):
    """What the page's script does with what the browser keeps from before, and with what is typed into its fields.

    In place of a text None presses the button of that number: each pick has "skip" and "not usable".
    """
    command = ["node", "-", json.dumps(kept), json.dumps(typed)]
    return json.loads(subprocess.run(command, input=BROWSER, capture_output=True, text=True, check=True).stdout)


needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="node runs the page's script")


@needs_node
def test_the_script_keeps_what_is_typed_and_saves_a_file_that_the_stage_reads():
    refusal(*FROM_FILE)
    first = use([], [[0, "cat"], [1, "ant & bee"]])
    assert (first["start"], first["end"], first["count"]) == (0, 2, "2 of 3 labelled, 1 left")
    second = use(first["kept"], [[2, 'dog, the "third"']])
    assert (second["start"], second["end"], second["count"]) == (2, "save", "3 of 3 labelled")
    assert use(second["kept"], [[0, ""]])["count"] == "2 of 3 labelled, 1 left"
    labelled("key,label\nkey1,dog\n")  # what the browser keeps has the last word
    refusal(*FROM_FILE)
    partial = use(first["kept"], [])
    assert (partial["start"], partial["count"]) == (2, "2 of 3 labelled, 1 left")
    assert re.findall(r",([^,\s][^,]*)\n", partial["saved"][0][1]) == ["label", "cat", "ant & bee"]
    [[name, text]] = second["saved"]
    assert name == "labels.csv"
    classes(label=[])
    labelled(text)
    assert labels(*FROM_FILE)[0] == 'key,label\nkey1,ant & bee\nkey3,"dog, the ""third"""\nkey4,cat\n'


@needs_node
def test_the_buttons_mark_a_pick_and_the_file_may_be_saved_with_gaps(caplog):
    caplog.set_level("INFO")
    refusal(*FROM_FILE)
    done = use([], [[2, None], [5, None], [4, None], [4, None], [5, None]])  # the last pick: on, over, off, on
    assert (done["end"], done["count"]) == ("save", "0 of 3 labelled, 2 skipped or not usable, 1 left")
    done = use(done["kept"], [[0, "cat"]])
    assert (done["start"], done["count"]) == (0, "1 of 3 labelled, 2 skipped or not usable")
    labelled(done["saved"][0][1])
    assert labels(*FROM_FILE)[0] == "key,label\nkey4,cat\n"
    assert "label: 2 of 3 picks have no label (1 skipped, 1 not usable)" in caplog.messages
    assert re.findall("<b>(.*)</b>", page()) == ["cat", "[skip]", "[unusable]"]


@needs_node
def test_the_script_saves_a_column_for_each_level():
    nothing_known()
    refusal(*FROM_FILE, *COARSE)
    done = use([], [[0, "cat"], [1, "pet"], [2, "cat"], [4, "insect"]])
    assert (done["start"], done["end"], done["count"]) == (0, "save", "3 of 3 labelled")
    labelled(done["saved"][0][1])
    assert labels(*FROM_FILE, *COARSE)[0] == "key,label,coarse\nkey1,cat,pet\nkey3,,insect\nkey4,cat,pet\n"


def test_a_label_at_several_levels_is_shown_whole():
    two_levels()
    labels(*COARSE)
    assert re.findall(r"<b>(.*)</b>", page()) == ["cat / pet", "cat / pet", "insect"]
