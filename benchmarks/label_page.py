"""The label page in a real browser: keys a label, seconds by a model of typing, milliseconds a key, size.

Needs a run whose training images all have an answer, and its `data/ingest`, `data/embed`, `data/graph`, `data/select`
and `data/shards`. Labels are given as a person would who knows the answers. Seconds are those of the keystroke-level
model (Card, Moran and Newell 1980): 0.28 s a key, 1.35 s to make up one's mind, 1.1 s to point and 0.2 s to click; for
an image among many 0.4 s to look at it (their 230 ms an eye movement, 100 to see, 70 to decide).

    python -m benchmarks.label_page runs/images
"""

import argparse
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from playwright.sync_api import Page

from pipeline.artifacts.labels import Labels
from pipeline.artifacts.picks import Selection
from tests.browser import launched, opened
from tests.imports import ROOT
from tests.label_page.digits_page import (
    PAGE,
    Person,
    count,
    make,
    milliseconds_a_key,
    nothing_known,
    train_keys,
    written,
)

KEY, MIND, POINT, CLICK, LOOK = 0.28, 1.35, 1.1, 0.2, 0.4  # seconds
BEFORE = 6.75  # keys an image, of the page before this one


def one_by_one(page: Page, truth: Mapping[str, str], guesses: bool) -> list[str]:
    """The keys that all picks took."""
    person = Person(page)
    while "left" in count(page):
        person.give(truth[person.key()], guesses)
    return person.pressed


def many_at_once(page: Page, truth: Mapping[str, str]) -> dict[str, int]:
    """How many images were looked at class by class, unticked and confirmed."""
    person, total = Person(page), {"classes": 0, "looked": 0, "unticked": 0, "confirmed": 0}
    person.press("g")
    while page.locator("#many .tick").count():
        name = page.locator("#many b").inner_text()
        keys = page.evaluate(f"groups.get({name!r}).filter(isOpen).map((item) => item.key)")
        wrong = [at for at, key in enumerate(keys) if truth[key] != name]
        for at in wrong:
            page.locator("#many .tick").nth(at).click()
        person.press("Enter")
        more = {"classes": 1, "looked": len(keys), "unticked": len(wrong), "confirmed": len(keys) - len(wrong)}
        total = {what: total[what] + more[what] for what in total}
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("run", type=Path)
    data = parser.parse_args().run.resolve() / "data"
    truth = {key: names[0] for key, names in Labels.read(data / "ingest/answers.csv").rows.items()}
    picks = Selection.read(data / "select/picks.csv").keys
    with tempfile.TemporaryDirectory() as folder, launched() as browser:
        os.chdir(folder)
        Path("params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
        for name in ("embed", "graph", "select", "shards"):
            Path("data").mkdir(exist_ok=True)
            Path("data", name).symlink_to(data / name)
        Path("data/ingest").mkdir()
        for file in (data / "ingest").iterdir():
            Path("data/ingest", file.name).write_bytes(file.read_bytes())
        nothing_known()
        classes = sorted({truth[key] for key in train_keys()})
        asked = f"label.classes={json.dumps(classes)}"

        def told(what: str, labels: int, keys: float, seconds: float) -> None:
            print(f"| {what} | {labels} | {keys / labels:.2f} | {60 * seconds / labels:.0f} |")

        print("| how | labels | keys a label | seconds of 60 labels |\n|---|---|---|---|")
        m = len(picks)
        told("the page before", m, BEFORE * m, m * (MIND + BEFORE * KEY))
        for what, sets, guesses in (
            ("names typed once", (), True),
            ("classes known, no guesses", (asked,), False),
            ("classes known, guesses from the first label on", (asked,), True),
        ):
            with opened(browser, make(*sets)) as page:
                keys = one_by_one(page, truth, guesses)
                entered = f", {keys.count('Enter')} by Enter" if guesses else ""
                told(what + entered, m, len(keys), m * MIND + len(keys) * KEY)
                slowest, median = milliseconds_a_key(page, "123" * 10)
        written([(key, truth[key]) for key in picks])
        with opened(browser, make(asked)) as page:
            found = many_at_once(page, truth)
        keys = found["classes"] + 1
        seconds = found["classes"] * (MIND + KEY) + found["looked"] * LOOK + found["unticked"] * (POINT + CLICK)
        told(f"many at once: {found}", found["confirmed"], keys, seconds)
        print(f"a key: {median:.1f} ms (median), {slowest:.1f} (slowest); page: {PAGE.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
