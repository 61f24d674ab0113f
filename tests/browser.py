"""A real Chromium, without a window: pages that ask for nothing outside, say nothing wrong, and read well."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
LOCAL = ("file:", "data:", "blob:", "about:")
DESK, PHONE = (1280, 800), (390, 844)  # pixels


@contextmanager
def launched() -> Iterator[Browser]:
    """A browser; a test that needs one fails where there is none, rather than pass unseen."""
    if CHROMIUM is None:
        pytest.fail("no chromium or google-chrome on PATH: apt-get install chromium, or set CHROMIUM=/its/program")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@contextmanager
def opened(browser: Browser, url: str, size: tuple[int, int] = DESK, allowed: str = "", **context) -> Iterator[Page]:
    """The page at `url`, in a fresh profile; refuses errors in its console and requests for what is not `allowed`.

    `allowed` is how the addresses begin that it may ask a server for.
    """
    profile = browser.new_context(viewport={"width": size[0], "height": size[1]}, **context)
    page, wrong = profile.new_page(), []
    page.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", lambda asked: wrong.append(asked.url) if not _may(asked.url, allowed) else None)
    page.goto(url)
    yield page
    profile.close()
    assert not wrong, wrong


def _may(url: str, allowed: str) -> bool:
    return url.startswith(LOCAL) or (bool(allowed) and url.startswith(allowed))


def serious_faults(page: Page) -> list[str]:
    """What axe-core finds that keeps people from using the page."""
    found = Axe().run(page).response["violations"]
    return [
        f"{fault['id']}: {node['html'][:200]}"
        for fault in found
        if fault["impact"] in ("serious", "critical")
        for node in fault["nodes"]
    ]


def scrolls_sideways(page: Page) -> bool:
    """Whether the page is wider than the window."""
    return page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth")
