"""The images that cannot be read, with a limit on their number."""

import logging

from pipeline.base.errors import SourceError

log = logging.getLogger(__name__)


class Bad:
    """The images that are left out, each with its reason; more than `allowed` are a SourceError."""

    def __init__(self, allowed: int) -> None:
        self.allowed = allowed
        self.rows: list[dict[str, str]] = []

    def add(self, path: str, reason: str) -> None:
        """Notes one more."""
        log.info("ingest: left out %s: %s", path, reason)
        self.rows.append({"path": path, "reason": reason})
        if len(self.rows) > self.allowed:
            first = self.rows[0]
            raise SourceError(
                f"{first['path']}: expected an image, but {first['reason']}; "
                f"{len(self.rows)} such images so far, and ingest.max_bad allows {self.allowed}"
            )
