"""What a user may do wrong, as exceptions of one line: where, what was expected, what came."""

from collections.abc import Sequence


class PipelineError(Exception):
    """Base of every error that is shown to a user as one line and ends the command with exit code 1."""


class ParamsError(PipelineError):
    """A value in params.yaml or `--set` is missing, unknown, of the wrong type or out of range."""


class ArtifactError(PipelineError):
    """A file between stages is missing, spoilt, or does not belong to the others."""


class SourceError(PipelineError):
    """The images or labels that a user brought cannot be used as they are."""


class TrainingError(PipelineError):
    """Training cannot go on: the loss is not finite, or another process writes the same state."""


class DivergedError(TrainingError):
    """The loss is no longer finite: other values may help, the same ones will not."""


def first_line(error: Exception) -> str:
    """The first line of what another library raised, or the kind of exception where it says nothing."""
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def first_names(names: Sequence[str], most: int = 10) -> str:
    """The first names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
