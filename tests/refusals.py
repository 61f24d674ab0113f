"""The line with which something is refused."""

from collections.abc import Callable
from typing import Any

import pytest

from pipeline.base.errors import ArtifactError, PipelineError


def refusal_of(call: Callable[..., Any], *arguments: Any, kind: type[PipelineError] = ArtifactError) -> str:
    """What the error of this kind says that the call raises: one line."""
    with pytest.raises(kind) as caught:
        call(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)
