"""`python -m stages.replace_picks`: the picks that are marked are noted for select, each once."""

from pathlib import Path

from click.testing import CliRunner

from stages.replace_picks import main
from tests.label.small_set import FROM_FILE, labelled, labels, pick, refusal

NONE = (
    "data/label/missing.csv: expected picks that are marked [skip], [none] or [unusable], and not replaced yet, found "
    "none; `dvc repro label` reads the labels first"
)


def replace(*arguments):
    done = CliRunner().invoke(main, list(arguments))
    return done.stdout if done.exit_code == 0 else done.stderr.removeprefix("Error: ").strip()


def test_marked_picks_are_noted_once_and_empty_ones_stay():
    assert replace() == "data/label/missing.csv: expected what `dvc repro label` leaves, found none"
    labelled("key,label\nkey1,\nkey3,dog\nkey4,cat\n")
    labels(*FROM_FILE)
    assert replace() == NONE
    labelled("key,label\nkey1,[skip]\nkey3,\nkey4,[unusable]\n")
    refusal(*FROM_FILE)  # no label at all: others may be asked for all the same
    elsewhere = ("--set", "select.labelled=mine.csv")
    says = "params.yaml: select.labelled: expected data/rounds, for select to read it, got mine.csv"
    assert replace(*elsewhere) == says
    assert replace() == "data/rounds/skipped.csv: 2 more picks are to be replaced; `dvc repro` picks others\n"
    noted = Path("data/rounds/skipped.csv").read_text()
    assert noted == "key,why,round,request\nkey4,not usable,0,0\nkey1,skipped,0,0\n"
    assert replace() == NONE
    assert Path("data/rounds/skipped.csv").read_text() == noted
    pick("key3", "key0", "key2")
    labelled("key,label\nkey3,dog\nkey0,cat\n")
    says = "expected labels for each of the 3 picks in data/select/picks.csv, got none for 1 of them, such as key2"
    assert says in refusal(*FROM_FILE)  # half would do, had nobody asked for others
    labelled("key,label\nkey3,dog\nkey0,cat\nkey2,\n")
    assert labels(*FROM_FILE)[0] == "key,label\nkey0,cat\nkey3,dog\n"
