"""Which image of the chain an answer is of."""

import re
from collections.abc import Sequence
from pathlib import PurePosixPath
from urllib.parse import parse_qs, unquote, urlsplit

from pipeline.artifacts.labels import Sources
from pipeline.base.errors import SourceError, first_names
from pipeline.exchange.answers import Answer
from pipeline.ingest.lookup import found

DIGEST = re.compile("[0-9a-f]{20}")  # a column of this name may hold something else
OURS = re.compile(r"([\w-]+?)(?:-([0-9a-f]{20}))?")  # a name that an export gave: the key, and the picture's digest
UPLOADED = re.compile(r"(/data/upload/\d+/)[0-9a-f]{8}-")  # Label Studio puts this before the name of an uploaded file
URLS = ("/data/", "http://", "https://", "s3://", "gs://")


def images_of(where: str, answers: Sequence[Answer], sources: Sources) -> list[tuple[str, str]]:
    """Key and picture of the image of each answer; the picture is what the tool says, else that of the image now.

    By its key, by the name of an exported picture, or by its path, or the end of one, which no other image has.
    Raises SourceError, by name, where an answer is of no image that is known.
    """
    texts = [[_path_in(text) for text in answer.image] for answer in answers]
    keys = [_by_key(own, sources) for own in texts]
    names = [[*own, *(PurePosixPath(text.replace("\\", "/")).name for text in own)] for own in texts]
    for place in range(max(map(len, names), default=0)):
        left = [at for at, key in enumerate(keys) if key is None and place < len(names[at])]
        key_of = {path: key for key, path in sources.path.items()} if left else {}
        for at, path in zip(left, found([names[at][place] for at in left], key_of), strict=True):
            if path is not None:
                keys[at] = key_of[path], ""
    lost = list(dict.fromkeys(answer.image[-1] for answer, key in zip(answers, keys, strict=True) if key is None))
    if lost:
        raise SourceError(
            f"{where}: expected images of this set, got {len(lost)} others, or such as may be several: "
            f"{first_names(lost)}"
        )
    return [
        (key, next(filter(DIGEST.fullmatch, (answer.picture, said)), sources.picture.get(key, "")))
        for answer, (key, said) in zip(answers, filter(None, keys), strict=True)
    ]


def _path_in(text: str) -> str:
    """The path that a URL leads to, or the text itself."""
    if not text.startswith(URLS):
        return text
    url = urlsplit(UPLOADED.sub(r"\1", text))
    local = parse_qs(url.query).get("d")  # of Label Studio's local files
    return local[0] if local else unquote(url.path)


def _by_key(texts: Sequence[str], sources: Sources) -> tuple[str, str] | None:
    """The key that one of the texts names, and the picture that the name of its file tells."""
    for text in texts:
        for stem in (text, PurePosixPath(text.replace("\\", "/")).stem):
            ours = OURS.fullmatch(stem)
            if stem in sources.path:
                return stem, ""
            if ours and ours[1] in sources.path:
                return ours[1], ours[2] or ""
    return None
