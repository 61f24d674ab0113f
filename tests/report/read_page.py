"""The page of a run as its stage writes it, and what a reader finds on it."""

from html.parser import HTMLParser
from pathlib import Path

from click.testing import CliRunner

from stages.report import main as report

VOID = {"meta", "img", "br", "link", "input"}


class Outline(HTMLParser):
    """Collects images, links to elsewhere and the text; refuses tags that do not nest."""

    def __init__(self, page):
        super().__init__()
        self.open, self.images, self.links, self.words, self.tags = [], [], [], [], set()
        self.feed(page)
        assert self.open == []
        self.text = " ".join(" ".join(self.words).replace("\u202f", " ").split())

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.links += [value for name, value in attrs if name in ("src", "href", "action") and value[:5] != "data:"]
        if tag == "img":
            self.images.append(dict(attrs))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.words.append(data)


def command(main, *sets, code=0):
    result = CliRunner().invoke(main, [word for item in sets for word in ("--set", item)])
    assert result.exit_code == code, result.output
    return result.stderr.splitlines()[-1:]


def page(code=0):
    """The page as it is now; or what the command says where it fails."""
    says = command(report, "seed=7", "report.pictures=8", "report.map=none", code=code)
    return says[-1].removeprefix("Error: ") if code else Path("data/report/index.html").read_text(encoding="utf-8")
