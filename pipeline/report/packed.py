"""What a page with all images holds, for its script to read: columns as base64, paths, and some thumbnails."""

from base64 import b64encode
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy import ndarray

from pipeline.report.images import Images
from pipeline.shards.pictures import Picture


def packed(values: ndarray, kind: str) -> str:
    """Numbers as base64 of little-endian bytes of this kind, such as `<i2`."""
    return b64encode(np.ascontiguousarray(values).astype(kind).tobytes()).decode()


def columns(images: Images, thumbs: Mapping[int, Picture]) -> dict[str, Any]:
    """What `images.js` reads: classes by number, -1 for none, and confidence in 200ths."""
    return {
        "count": len(images.keys),
        "classes": list(images.classes),
        "keys": list(images.keys),
        "paths": list(images.paths),
        "label": packed(images.numbers(images.label), "<i2"),
        "answer": packed(images.numbers(images.answer), "<i2"),
        "prediction": packed(images.numbers(images.prediction), "<i2"),
        "confidence": packed((200 * images.confidence).round(), "u1"),
        "before": {str(row): name for row, name in enumerate(images.before) if name},
        "rank": packed(images.rank, "<i4"),
        "tested": packed(images.tested, "u1"),
        "thumbs": {str(row): picture.uri for row, picture in thumbs.items()},
        "tiny": all(picture.tiny for picture in thumbs.values()),
    }
