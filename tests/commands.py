"""The stages' commands on a small run, and what they refuse."""

from click.testing import CliRunner

FEW = ("train.method=fixmatch", "train.steps=4", "train.batch_size=4", "pretrain.steps=4", "pretrain.batch_size=16")


def call(command, *sets, **options):
    arguments = [part for item in (*FEW, *sets) for part in ("--set", item)]
    arguments += [part for name, value in options.items() for part in (f"--{name.replace('_', '-')}", str(value))]
    return CliRunner().invoke(command, arguments)


def refusal(result):
    assert result.exit_code == 1, result.output
    lines = [line for line in result.output.splitlines() if line.startswith("Error: ")]
    assert len(lines) == 1
    return lines[0].removeprefix("Error: ")
