"""The pictures of the docs, from the pages of a run: `python -m tests.report.pictures data/report docs/images`."""

import sys
from pathlib import Path

from PIL import Image

from tests.browser import launched, opened

SIZE = (1120, 900)


def take(report: Path, out: Path) -> None:
    """Takes report.png, map.png and gallery.png, with few colours, so that they are small."""
    with launched() as browser:
        for name, page_of, ready in (
            ("report", "index", "h1"),
            ("map", "map", "html[data-ready]"),
            ("gallery", "gallery", "li"),
        ):
            with opened(browser, (report / f"{page_of}.html").absolute().as_uri(), SIZE) as page:
                page.wait_for_selector(ready)
                page.wait_for_timeout(1000)  # the points fade in
                page.screenshot(path=out / f"{name}.png")
            with Image.open(out / f"{name}.png") as picture:
                picture.convert("RGB").quantize(64).save(out / f"{name}.png", optimize=True)


if __name__ == "__main__":
    take(Path(sys.argv[1]), Path(sys.argv[2]))
