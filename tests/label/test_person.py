"""Labels from a person's file: what is taken, what the log says of it, and every refusal word for word."""

from pathlib import Path

import pytest

from tests.label.small_set import (
    COARSE,
    FILE,
    FROM_FILE,
    NAMES,
    TEMPLATE,
    classes,
    labelled,
    labels,
    nothing_known,
    path_of,
    refusal,
)


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("\ufeffnote,label,key\nx, dog ,key1\nx,cat,key3\n,cat,key4\nold,cat,key0\n,,key2\nx,dog,key1\n",
         "key,label\nkey0,cat\nkey1,dog\nkey3,cat\nkey4,cat\n"),
        ("key,group,label\nkey1,,dog\nkey3,,cat\nkey4,pet,cat\n",  # once a class is enough
         "key,label,group\nkey1,dog,\nkey3,cat,pet\nkey4,cat,pet\n"),
        ('Key;Path;Class\nkey1;; DOG\n1.2E+19;some, "odd" <b>/key3.png;Ant  & bee\n;;\nkey4;;c\u200bat\nkey2;;-1\n',
         "key,label\nkey1,dog\nkey3,ant & bee\nkey4,cat\n"),
    ],
    ids=["other columns, orders, marks and images", "a coarser level that classes.json knows", "as a person types"],
)  # fmt: skip
def test_a_persons_file_is_read(text, written):
    if "group" in text:
        classes(label=NAMES, group=["pet", "insect"])
    labelled(text)
    assert labels(*FROM_FILE)[0] == written


def test_classes_of_which_no_row_says_what_is_above_them_are_named(caplog):
    nothing_known()
    labelled("key,label,coarse\nkey4,cat,pet\nkey1,ant,\nkey3,,insect\n")
    with caplog.at_level("WARNING"):
        labels(*FROM_FILE, *COARSE)
    assert caplog.messages == ["no row says which coarse is above ant: write it once for each class"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("key,label\nkey1,dog\nkey9,cat\n", "key key9: expected a training image, found none of that key"),
        ("key,label\nkey1,dog\nkey1,cat\nkey3,cat\n",
         f"key key1, {path_of('key1')}: expected one label, got 'dog' and 'cat'; keep one of the rows"),
        ("path,label\n1.png,dog\n", "expected the columns key and label, got path,label; save it elsewhere and "
                                     "give it to python -m stages.import_labels, which goes by path"),
        ("key,label,group\nkey1,dog,co\n", "key key1: expected the group CO or Co, got 'co', which may be both"),
        ("key,label,group\nkey1,dog,pet\nkey3,dog,insect\n",
         "key key3: expected one class above 'dog', got 'pet' and 'insect'"),
        ('key,label\nkey1,"a\nb"\n', "key key1: expected a label of one line, got 'a\\nb'"),
        ("key,label\nkey1,[ skip ]\n", "key key1: expected a label, [skip], [none] or [unusable], got '[ skip ]'"),
        ("key,label,label\nkey1,dog,cat\n", "expected each column once, got label twice"),
        ("key|label\nkey1|dog\n", "expected the columns key and label, got key|label"),
        ("key,label\n1.2E+19,dog\n", "key 1.2E+19: expected a training image's key, got a number that a spreadsheet "
                                     "made of one; save that column as text, or keep the column path beside it"),
        ("", "expected the columns key and label, got nothing"),
        ("key,label\nkey1\n", "line 2: expected 2 values, got 1"),
    ],
)  # fmt: skip
def test_a_persons_file_is_refused(text, message):
    classes(label=NAMES, group=["pet", "insect", "Co", "CO"])
    labelled(text)
    assert refusal(*FROM_FILE) == f"{FILE}: {message}"
    assert not Path("data/label").exists()
    assert FILE.read_text() == text


@pytest.mark.parametrize(
    ("known", "rounds", "text", "found", "said"),
    [
        (NAMES, ["key0,CAT\nkey2,owl\n"], "key1,dog\nkey3,Owl\nkey4,eel\n", "cat dog owl owl eel",
         "no answer names 2 of the classes: eel, owl"),
        (NAMES, [], "key1,dogs\nkey3,cat\nkey4,cat\n", "dogs cat cat",
         "the class 'dogs' has one label and is near 'dog': is it a slip?"),
        ([], ["key0,Red fox\n", "key2,eel\n"], "key1,red  fox\nkey3,RED FOX\nkey4,Eel\n",
         "Red fox|Red fox|eel|Red fox|eel", "'red  fox' in data/annotations/labels.csv is taken for 'Red fox'"),
    ],
)  # fmt: skip
def test_classes_are_those_of_answers_rounds_and_labels_in_one_spelling(known, rounds, text, found, said, caplog):
    classes(label=known)
    for number, rows in enumerate(rounds):
        Path(f"data/rounds/0{number}").mkdir(parents=True)
        Path(f"data/rounds/0{number}/labels.csv").write_text(f"key,label\n{rows}")
    labelled(f"key,label\n{text}")
    caplog.set_level("INFO")
    written = labels(*FROM_FILE)[0]
    names = found.split("|") if "|" in found else found.split()
    assert [line.split(",")[1] for line in written.splitlines()[1:]] == names
    assert f"label: {said}" in caplog.messages


@pytest.mark.parametrize(
    ("text", "found", "corrected"),
    [
        ("key0,cat\nkey2,Owl\n", "key0,cat|key2,owl|key3,cat", 0),
        ("key0,dog\nkey2,\n", "key0,dog|key2,owl|key3,cat", 1),
        ("key0,dog\nkey2,cat\n", "key0,dog|key2,cat|key3,cat", 2),
        ("key0,[unusable]\nkey2,[skip]\n", "key3,cat", 2),
    ],
)
def test_a_persons_file_corrects_labels_of_finished_rounds(text, found, corrected, caplog):
    Path("data/rounds/00").mkdir(parents=True)
    Path("data/rounds/00/labels.csv").write_text("key,label\nkey0,cat\nkey2,owl\n")
    labelled(f"key,label\n{text}key1,\nkey3,cat\nkey4,[skip]\n")
    caplog.set_level("INFO")
    assert "|".join(labels(*FROM_FILE)[0].splitlines()[1:]) == found
    said = [message for message in caplog.messages if "earlier rounds" in message]
    what = "taken back" if "[" in text else "corrected"
    assert said == [f"label: {corrected} of the labels of earlier rounds {what} by labels.csv"] * bool(corrected)
    labelled(TEMPLATE.read_text())  # filled in for the next round, it still corrects
    assert "|".join(labels(*FROM_FILE)[0].splitlines()[1:]) == found


def test_a_corrected_class_leaves_the_coarser_class_of_its_round():
    Path("data/rounds/00").mkdir(parents=True)
    Path("data/rounds/00/labels.csv").write_text("key,label,coarse\nkey0,cat,pet\nkey2,owl,bird\nkey5,,bird\n")
    labelled("key,label,coarse\nkey0,dog,\nkey1,cat,\nkey3,elm,tree\nkey4,elm,\nkey2,owl,fowl\nkey5,hen,\n")
    written = labels(*FROM_FILE, *COARSE)[0].splitlines()[1:]
    assert written == ["key0,dog,", "key1,cat,", "key2,owl,fowl", "key3,elm,tree", "key4,elm,tree", "key5,hen,bird"]


def test_the_log_counts_the_labels_of_each_class_and_asks_about_a_slip(caplog):
    nothing_known()
    labelled("key,label\nkey1,flags\nkey3,flags\nkey4,flgas\n")
    with caplog.at_level("INFO"):
        labels(*FROM_FILE)
    assert "label: flags 2, flgas 1" in caplog.messages
    assert "label: the class 'flgas' has one label and is near 'flags': is it a slip?" in caplog.messages
    caplog.clear()
    classes(label=["flags", "flgas"])  # of the answers
    labels(*FROM_FILE)
    assert not [message for message in caplog.messages if "slip" in message]


def test_a_label_of_an_image_that_is_held_out_is_not_used(caplog):
    labelled("key,label\nkey1,dog\nkey3,dog\nkey4,cat\nkey6,cat\n")
    assert labels(*FROM_FILE)[0] == "key,label\nkey1,dog\nkey3,dog\nkey4,cat\n"
    assert f"label: 1 labels in {FILE} are of images held out for the test, and are not used" in caplog.messages


def test_labels_of_images_that_are_no_picks_count_too(caplog):
    """So a person who has labelled other images before need not label half of the new picks."""
    caplog.set_level("INFO")
    nothing_known()
    labelled("key,label\nkey0,cat\nkey2,dog\nkey1,cat\n")
    assert labels(*FROM_FILE)[0] == "key,label\nkey0,cat\nkey1,cat\nkey2,dog\n"
    assert "label: 2 labels of images that are no picks count too" in caplog.messages
    assert "label: 2 of 3 picks have no label (2 not in labels.csv)" in caplog.messages
