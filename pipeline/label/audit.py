"""The audit: random images whose labels measure the result and are never trained on."""

import hashlib
import logging
from collections.abc import Collection, Iterable, Mapping, Sequence

from pipeline.artifacts.labels import Labels

log = logging.getLogger(__name__)


def drawn(keys: Iterable[str], taken: Collection[str], count: int) -> list[str]:
    """`count` of the images that are not `taken` for training: the first in an order that is as good as random.

    The order depends on each key alone, so images that come later, and picks, change few of those that were drawn.
    """
    if not count:
        return []
    return sorted({*keys} - {*taken}, key=lambda key: hashlib.blake2b(f"audit {key}".encode()).digest())[:count]


def of_audit(keys: Sequence[str], labels: Labels) -> Labels:
    """What the person wrote of these images, at the finest level."""
    found = {key: labels.rows[key][:1] for key in keys if key in labels.rows}
    return Labels(labels.levels[:1], {key: names for key, names in found.items() if names[0]})


def log_audit(num_images: int, why: Mapping[str, str]) -> None:
    """Logs how many images have a label to measure with. `why` says of each of the others why it has none."""
    done = num_images - len(why)
    log.info("label: audit: %d of %d images have a label, which is not trained on", done, num_images)
    if why:
        log.warning("label: audit: images without a label make the accuracy too high, if they were the hard ones")
