"""The label page of a small real run, and a person at it: keys pressed, counted, and the file that is saved."""

import csv
import time
from pathlib import Path

import numpy as np
from click.testing import CliRunner

from pipeline.artifacts.labels import Classes, Labels, Sources
from pipeline.artifacts.picks import Selection
from pipeline.artifacts.shards import Index
from stages.label import main

FILE, PAGE = Path("data/annotations/labels.csv"), Path("data/label/page.html")


def answers():
    """The class of each image, from before `nothing_known`."""
    return {key: names[0] for key, names in Labels.read(Path("data/ingest/answers.csv")).rows.items()}


def train_keys():
    return list(Index.read(Path("data/ingest/index.parquet"), "train").key)


def pick(keys):
    Selection(keys, np.zeros(len(keys))).write(Path("data/select/picks.csv"))


def nothing_known():
    Labels(["label"], {}).write(Path("data/ingest/answers.csv"))
    Classes({"label": []}).write(Path("data/ingest/classes.json"))


def paths(name):
    """Gives each image this path, followed by its key."""
    Sources({key: name + key for key in Sources.read(Path("data/ingest/sources.csv")).path}).write(
        Path("data/ingest/sources.csv")
    )


def written(rows):
    FILE.parent.mkdir(exist_ok=True)
    with FILE.open("w", newline="") as file:
        csv.writer(file).writerows([("key", "label"), *rows])


def make(*sets):
    """Runs the stage, whether it has labels enough or not; the address of the page that it leaves."""
    done = CliRunner().invoke(main, [part for item in ("label.source=file", *sets) for part in ("--set", item)])
    assert done.exit_code == 0 or "expected labels" in done.output, done.output
    return PAGE.resolve().as_uri()


def labels():
    """What the stage makes of the saved file: the class of each image."""
    make()
    return {key: names[0] for key, names in Labels.read(Path("data/label/labels.csv")).rows.items()}


def saved(page):
    """Presses the button that saves, puts the file where the stage reads it, and gives its rows."""
    with page.expect_download() as download:
        page.click("#save")
    FILE.parent.mkdir(exist_ok=True)
    download.value.save_as(FILE)
    with FILE.open(newline="") as file:
        return list(csv.DictReader(file))


class Person:
    """Presses keys and counts them."""

    def __init__(self, page):
        self.page, self.pressed = page, []

    def press(self, *keys):
        for key in keys:
            self.page.keyboard.press(key)
            self.pressed.append(key)

    def type(self, text):
        self.press(*text, "Enter")

    def key(self):
        """The key of the image that is shown."""
        return self.page.evaluate("cards[at].key")

    def classes(self):
        return self.page.evaluate("shownChips.names")

    def guess(self):
        """The class on the chip that is marked as a guess."""
        chips = self.page.locator("#chips .guess")
        return self.classes()[int(chips.evaluate("e => shownChips.buttons.indexOf(e)"))] if chips.count() else None

    def give(self, name, guesses=True):
        """Labels the image that is shown by as few keys as there are: those pressed."""
        before = len(self.pressed)
        if guesses and self.guess() == name:
            self.press("Enter")
        elif name in self.classes():
            self.press(self.page.evaluate("(name) => chipKeys.get(level(cards[at])).get(name)", name))
        else:
            self.press("n")
            self.type(name)
        return self.pressed[before:]


def count(page):
    return page.inner_text("#count")


def milliseconds_a_key(page, keys):
    """From each key until its answer is on the screen, in milliseconds: the slowest, and the median."""
    script = """async (key) => {
      const start = performance.now();
      document.body.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
      document.body.getBoundingClientRect();
      const done = performance.now() - start;
      await new Promise(requestAnimationFrame);
      return done;
    }"""
    taken = sorted(page.evaluate(script, key) for key in keys)
    return taken[-1], taken[len(taken) // 2]


def wait_until(true, seconds=10):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.02)
