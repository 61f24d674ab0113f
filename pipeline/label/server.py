"""The label page from a small server on this machine, which saves each label at once and lets the chain go on.

Only this machine can reach it, and only who knows the token in its address; pages of other origins are refused.
"""

import asyncio
import json
import os
import re
import secrets
from base64 import b64decode
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from aiohttp import ClientError, ClientSession, ClientTimeout, web
from aiohttp.typedefs import Handler

from pipeline.artifacts.labels import Classes, Labels, Sources
from pipeline.artifacts.picks import Selection
from pipeline.artifacts.shards import Index, Manifest
from pipeline.base.errors import ArtifactError, ParamsError, PipelineError
from pipeline.base.machine import Reading
from pipeline.base.typed import here
from pipeline.label.chain import Chain
from pipeline.label.label_file import LabelFile
from pipeline.label.person import FileParams, levels_to_ask
from pipeline.label.run import AnswersParams, LabelParams
from pipeline.shards.pictures import pictures

LOOPBACK = "127.0.0.1"
WHOLE = 1024  # pixels of the longer side of a picture that is looked at closely, at most
MOST_BYTES = 4_000_000  # of a request: 10,000 labels
HEADERS = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer", "X-Content-Type-Options": "nosniff",
           "Cross-Origin-Resource-Policy": "same-origin", "X-Frame-Options": "DENY"}  # fmt: skip
LINKED = ("evaluate/metrics.json", "select/picks.csv", "label/page.html")  # by the report
INDEX = "index.html"  # of the report
SOON = 3  # seconds in which another server of the run answers
TOKEN = web.AppKey("token", str)
KEPT = ".label-server"  # beside the label stage's folder, which that stage replaces; not in git, for its owner alone
ADDRESS = re.compile(r"(\d{1,5}) ([\w-]{32})", re.ASCII)


@dataclass(frozen=True)
class Images:
    """The images of a run, as its files were when they were read."""

    labels: LabelFile
    picture: Callable[[str], str]  # the data URI of a large picture of an image, by key

    @classmethod
    def read(cls, ingest: Path, select: Path, params: LabelParams, file: Path, reading: Reading) -> "Images":
        picks, manifest = Selection.read(select / "picks.csv").keys, Manifest.read(ingest / "manifest.json")
        index, classes = Index.read(ingest / "index.parquet", "train"), Classes.read(ingest / "classes.json")
        depth = max(params.levels(len(picks)), default=0) + 1
        levels = levels_to_ask(Labels.read(ingest / "answers.csv").levels, classes, depth, ingest / "classes.json")
        sources = Sources.read(ingest / "sources.csv")
        of_training = Sources({key: sources.path.get(key, "") for key in index.key}, sources.picture)

        def picture(key: str) -> str:
            return pictures(manifest, index, [key], WHOLE, reading)[key].uri

        return cls(LabelFile(file, levels, of_training, picks), picture)


@dataclass
class Pages:
    """What the server answers with, below `/TOKEN/`."""

    page: Path  # of the label stage
    report: Path  # folder of the report
    files: Sequence[Path]  # those of which a new one makes `read` give other images
    read: Callable[[], Images]
    chain: Chain
    again: str  # how this server is started again
    _shown: bytes  # what the page was when it was asked for last
    _read: tuple[Sequence[int], Images] | None = None

    @classmethod
    def of(
        cls,
        ingest: Path,
        select: Path,
        label: Path,
        report: Path,
        params: LabelParams,
        file: Path,
        reading: Reading,
        say: Callable[[str], None],
    ) -> "Pages":
        """Those of a run. Raises ArtifactError where its label stage has not made a page yet."""
        page = label / "page.html"
        if not page.is_file():
            again = here().again
            raise ArtifactError(f"{page}: expected the page that `{again}` makes, found none; run it first")
        files = ingest / "sources.csv", ingest / "index.parquet", select / "picks.csv"
        chain = Chain(lambda line: say(f"{line}; the report: {report / INDEX}" if chain.state == "done" else line))
        pages = cls(
            page,
            report,
            files,
            lambda: Images.read(ingest, select, params, file, reading),
            chain,
            _again(),
            page.read_bytes(),
        )
        pages.images.labels.rows()  # a file that is no table is refused now, not at the first label
        return pages

    @property
    def images(self) -> Images:
        """Those of now. While the chain makes the files anew, they are those of before."""
        if self._read and not all(file.exists() for file in self.files):
            return self._read[1]
        changed = [file.stat().st_mtime_ns for file in self.files]
        if not self._read or self._read[0] != changed:
            self._read = changed, self.read()
        return self._read[1]

    async def show(self, _: web.Request) -> web.Response:
        with suppress(FileNotFoundError):  # the label stage makes it anew: that of before is shown
            self._shown = self.page.read_bytes()
        return web.Response(body=self._shown, content_type="text/html", charset="utf-8")

    async def saved(self, _: web.Request) -> web.Response:
        return web.json_response({"rows": self.images.labels.rows(), "again": self.again})

    async def save(self, request: web.Request) -> web.Response:
        try:
            sent = await request.json()
        except ValueError as error:
            raise _refused(400, f"expected JSON, got: {error}") from error
        said, why = self.images.labels.change(sent.get("rows") if isinstance(sent, dict) else sent)
        return web.json_response({"said": said, "refused": [{"key": key, "error": why[key]} for key in why]})

    async def finish(self, _: web.Request) -> web.Response:
        self.chain.start()
        return await self.progress(_)

    async def progress(self, _: web.Request) -> web.Response:
        state = {"state": self.chain.state, "line": self.chain.line}
        return web.json_response({**state, "report": f"report/{INDEX}" if (self.report / INDEX).is_file() else None})

    async def whole_picture(self, request: web.Request) -> web.Response:
        key = request.query.get("key", "")
        images = self.images
        if key not in images.labels.sources.path:
            raise web.HTTPNotFound
        kind, data = images.picture(key).removeprefix("data:").split(";base64,")
        return web.Response(body=b64decode(data), content_type=kind)

    async def reported(self, request: web.Request) -> web.StreamResponse:
        folder, name = self.report, request.match_info["name"]
        if not folder.is_dir() or name not in {entry.name for entry in folder.iterdir() if entry.is_file()}:
            raise web.HTTPNotFound
        return web.FileResponse(folder / name)

    async def beside(self, request: web.Request) -> web.StreamResponse:
        file = self.report.parent / request.match_info["folder"] / request.match_info["name"]
        if file not in {self.report.parent / name for name in LINKED} or not file.is_file():
            raise web.HTTPNotFound
        return web.FileResponse(file)


@web.middleware
async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuses other tokens, hosts and origins, and says what is wrong as JSON."""
    if request.path == "/favicon.ico":  # a browser asks for it beside a page that names none, without the token
        return web.Response(status=204)
    given = request.path.split("/")[1]
    if not secrets.compare_digest(given.encode(), request.app[TOKEN].encode()):
        raise _refused(403, "expected the address that the command printed, with its token")
    host = f"{LOOPBACK}:{request.url.port}"
    origin, site = request.headers.get("Origin"), request.headers.get("Sec-Fetch-Site", "same-origin")
    # A name that another site gave to this machine, or a page of another site: neither is ours.
    if request.host != host or origin not in (None, f"http://{host}") or site not in ("same-origin", "none"):
        raise _refused(403, f"expected a page of http://{host}")
    try:
        response = await handler(request)
    except PipelineError as error:
        raise _refused(400, str(error)) from error
    except OSError as error:
        raise _refused(507, f"not saved: {error.strerror or error}") from error
    response.headers.update(HEADERS)
    return response


def _refused(status: int, why: str) -> web.HTTPException:
    """An answer that says why; the label that it is about is not lost, as the page keeps what is not saved."""
    kinds = {400: web.HTTPBadRequest, 403: web.HTTPForbidden, 507: web.HTTPInsufficientStorage}
    return kinds[status](text=json.dumps({"error": why}), content_type="application/json")


def serve_run(
    ingest: Path,
    select: Path,
    label: Path,
    report: Path,
    params: LabelParams,
    source: AnswersParams | FileParams,
    reading: Reading,
    port: int,
    say: Callable[[str], None],
) -> None:
    """Serves the page of a run until Ctrl-C, and says its address; port 0 is that of before, if it is free, or any.

    Raises ParamsError where no person labels, ArtifactError where the label stage has made no page yet or the run has a
    server already, and OSError for a port that is taken.
    """
    if not isinstance(source, FileParams):
        raise ParamsError("label.source: expected file, as a person labels, got answers")
    pages = Pages.of(ingest, select, label, report, params, Path(source.path), reading, say)
    with suppress(KeyboardInterrupt):
        asyncio.run(_serve(pages, port, label.parent / KEPT, say))


async def _serve(pages: Pages, port: int, kept: Path, say: Callable[[str], None]) -> None:
    before, token = _kept(kept)
    if before and await _answers(_address(before, token)):
        raise ArtifactError(
            f"{kept}: expected no other server of this run, got {_address(before, token)}; open that one"
        )
    runner = web.AppRunner(application(pages, token), access_log=None)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, LOOPBACK, port or before).start()
        except OSError:
            if port or not before:
                raise
            await web.TCPSite(runner, LOOPBACK, 0).start()  # somebody else has taken that of before
        port = runner.addresses[0][1]
        kept.unlink(missing_ok=True)
        with os.fdopen(os.open(kept, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(f"{port} {token}")
        say(f"open {_address(port, token)}  (Ctrl-C ends it)")
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()


def _kept(file: Path) -> tuple[int, str]:
    """Port and token that the run had before, so that an open page goes on; others where nobody else may know these."""
    with suppress(OSError, ValueError):
        found = ADDRESS.fullmatch(file.read_text())
        if found and not file.is_symlink() and file.stat().st_mode & 0o077 == 0 and int(found[1]) < 2**16:
            return int(found[1]), found[2]
    return 0, secrets.token_urlsafe(24)


def _address(port: int, token: str) -> str:
    return f"http://{LOOPBACK}:{port}/{token}/"


async def _answers(address: str) -> bool:
    """Whether a server of this run is there: another one does not know the token."""
    with suppress(ClientError, TimeoutError):
        async with ClientSession(timeout=ClientTimeout(SOON)) as session, session.get(f"{address}progress") as answer:
            return answer.status == 200
    return False


def _again() -> str:
    """How the server of the run in this folder is started again."""
    typed = here()
    return f"by `{typed.label}`" if typed.by_make else f"in the folder {Path.cwd()}: `{typed.label}`"


def application(pages: Pages, token: str) -> web.Application:
    """The routes below `/token/`, behind what refuses everybody else."""
    app = web.Application(middlewares=[guard], client_max_size=MOST_BYTES)
    app[TOKEN] = token
    at = f"/{token}/"
    app.router.add_get(at, pages.show)
    app.router.add_get(f"{at}labels", pages.saved)
    app.router.add_post(f"{at}labels", pages.save)
    app.router.add_post(f"{at}finish", pages.finish)
    app.router.add_get(f"{at}progress", pages.progress)
    app.router.add_get(f"{at}picture", pages.whole_picture)
    app.router.add_get(f"{at}report/{{name}}", pages.reported)
    app.router.add_get(f"{at}{{folder}}/{{name}}", pages.beside)
    return app
