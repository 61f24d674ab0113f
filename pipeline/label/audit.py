"""The labels of an audit, which are asked for beside those of the picks."""

import logging
from collections.abc import Mapping, Sequence

from pipeline.artifacts.labels import Labels

log = logging.getLogger(__name__)


def audit_labels(keys: Sequence[str], labels: Labels) -> Labels:
    """The labels of these images at the finest level; "" for an image without."""
    return Labels(labels.levels[:1], {key: labels.rows.get(key, [""])[:1] for key in keys})


def log_audit(num_images: int, why: Mapping[str, str]) -> None:
    """Logs how many images have a label to measure with. `why` says of each of the others why it has none."""
    done = num_images - len(why)
    log.info("label: audit: %d of %d images have a label, which is not trained on", done, num_images)
    if why:
        log.warning("label: audit: images without a label make the accuracy too high, if they were the hard ones")
