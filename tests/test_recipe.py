"""What is chosen for a folder of images, and how long it is said to take."""

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from pipeline.base.errors import SourceError
from pipeline.base.params import Params
from pipeline.ingest.files import look_below
from pipeline.recipe import look, times
from pipeline.recipe.choose import choose
from pipeline.recipe.look import Pictures
from pipeline.recipe.run import duration
from stages.images import main


def save(folder, count, size=(30, 20), mode="L"):
    folder.mkdir(parents=True, exist_ok=True)
    shape = (size[1], size[0], *([3] if mode == "RGB" else []))
    for i in range(count):
        Image.fromarray(np.full(shape, i, np.uint8)).save(folder / f"{mode}{i:03d}.png")


def pictures(folder):
    return Pictures.look(folder, look_below(folder))


def test_images_are_told_from_a_sample_of_their_headers(tmp_path, monkeypatch):
    save(tmp_path / "a", 9)
    (tmp_path / "broken.png").write_bytes(b"no image")
    (tmp_path / "Thumbs.db").write_bytes(b"")
    found = pictures(tmp_path)
    assert (found.count, len(found.sample), found.grey, found.side) == (10, 9, True, 30)
    save(tmp_path / "b", 1, (90, 10), "RGB")
    assert pictures(tmp_path).grey is False
    monkeypatch.setattr(look, "MOST", 5)
    assert (pictures(tmp_path).count, len(pictures(tmp_path).sample)) == (11, 5)
    with pytest.raises(SourceError, match="expected pictures, found none among 1 files"):
        (tmp_path / "none").mkdir()
        (tmp_path / "none/x.png").write_bytes(b"")
        pictures(tmp_path / "none")


@pytest.mark.parametrize(
    ("count", "grey", "side", "gpu", "expected"),
    [
        (1500, False, 640, False, ("rgb", 160)),
        (1500, True, 160, False, ("grey", 160)),
        (1500, True, 28, True, ("grey", 96)),
        (50_000, False, 640, False, ("rgb", 96)),
        (50_000, False, 640, True, ("rgb", 224)),
        (50_000, False, 100, True, ("rgb", 160)),
    ],
)
def test_the_rule_goes_by_number_side_colour_and_gpu(count, grey, side, gpu, expected):
    found = choose(Pictures(count, [], grey, side), gpu=gpu)
    assert tuple(choice.value for choice in found) == expected
    assert [choice.key for choice in found] == ["ingest.mode", "ingest.size"]


def test_a_run_is_laid_out_by_what_was_chosen_and_what_was_asked_for(tmp_path, monkeypatch):
    save(tmp_path / "it's mine", 12, mode="RGB")
    whole = (tmp_path / "it's mine/RGB000.png").read_bytes()
    (tmp_path / "it's mine/RGB006.png").write_bytes(whole[: len(whole) // 2])
    monkeypatch.setattr(times, "START", "pass")
    monkeypatch.setattr(times, "SECONDS", 0)
    run = tmp_path / "run"
    words = [str(run), "--images", str(tmp_path / "it's mine"), "--budget", "5", "--set", "ingest.size=32"]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 0, done.output
    params = Params.read(run / "params.yaml")
    wanted = {"ingest.folder.path": str(tmp_path / "it's mine"), "ingest.mode": "rgb", "ingest.size": 32,
              "select.budget": 5, "pretrain.none.weights": "packaged"}  # fmt: skip
    assert {key: params.lookup(key) for key in wanted} == wanted
    assert "12 images in colour, as a rule 30 pixels long\n  ingest.mode: rgb, as there are colours\n" in done.stdout
    assert "ingest.size: 160" not in done.stdout
    said = "  pretrain.backbone: timm, tf_efficientnet_lite0\n  pretrain.method: none, weights packaged\n"
    assert said + "  train.method: propagate\n" in done.stdout
    assert "to the page that asks for labels: params 0 s, ingest 0 s, pretrain 0 s, embed " in done.stdout
    noted = (run / "data/images/elsewhere.txt").read_text()
    save(tmp_path / "it's mine", 13, mode="RGB")
    words[4] = "6"
    again = CliRunner().invoke(main, words)
    assert "  select.budget was 5 and is 6 now\n" in again.stdout
    assert (run / "data/images/elsewhere.txt").read_text() != noted
    many = times.seconds(Pictures(120_000, pictures(tmp_path / "it's mine").sample, False, 30), params)
    assert many["embed"] > 20 * many["graph"]
    assert [duration(99), duration(170)] == ["99 s", "3 min"]


def test_laid_out_again_a_run_keeps_what_a_person_set(tmp_path, monkeypatch):
    monkeypatch.setattr(times, "START", "pass")
    monkeypatch.setattr(times, "SECONDS", 0)
    save(tmp_path / "images/a", 6)
    save(tmp_path / "images/b", 6)
    run = tmp_path / "run"

    def again(*words):
        done = CliRunner().invoke(main, [str(run), "--images", str(tmp_path / "images"), *words])
        assert done.exit_code == 0, done.output
        params = Params.read(run / "params.yaml")
        return done.stdout, [params.lookup(key) for key in ("label.audit", "select.budget", "select.method")]

    said, values = again("--budget", "5")
    assert values == [0, 5, "auto"]
    assert "  label.source: file, so a person labels, and the classes that all images have measure the result; " in said
    assert "label.source" in again("--set", "label.source=answers")[0]
    assert "label.source" not in again()[0]
    sets = [word for item in ("label.audit=3", "select.method=uherding") for word in ("--set", item)]
    assert again(*sets)[1] == [3, 5, "uherding"]
    file = run / "params.yaml"
    old = file.read_text().replace("{per_class: 8", "{view: {flip: 0.5}, per_class: 8", 1)
    assert old != file.read_text()
    file.write_text(old)  # a key of an older version
    said, values = again("--budget", "4")
    assert values == [3, 4, "uherding"]
    assert "  select.budget was 5 and is 4 now\n" in said
    assert again("--set", "label.audit=0", "--set", "select.method=kcenter")[1] == [0, 4, "kcenter"]
    save(tmp_path / "images/a", 7)
    assert again(*sets)[1] == [3, 4, "uherding"]
    save(tmp_path / "images/a", 8)
    said, values = again()
    assert values == [3, 4, "auto"]
    assert "select.method was 'uherding' and is 'auto' now" in said
    assert "auto for this round, as uherding needs outputs" in said


@pytest.mark.parametrize(
    ("words", "columns", "says"),
    [
        (["--budget", "12"], "path,label", "--budget: expected fewer than the 12 images of "),
        (
            ["--budget", "5", "--set", "ingest.sise=3"],
            "path,label",
            "--set ingest.sise=3: sise: expected a key of params.yaml, found none of that ",
        ),
        (
            ["--budget", "5"],
            "file,kind",
            "/answers.csv: expected the columns path and label, got file,kind; label may be called class, cls, "
            "category too",
        ),
    ],
)
def test_what_cannot_be_is_refused_and_lays_out_nothing(tmp_path, words, columns, says):
    save(tmp_path / "images", 12)
    (tmp_path / "images/answers.csv").write_text(f"{columns}\nL000.png,a\n")
    done = CliRunner().invoke(main, [str(tmp_path / "run"), "--images", str(tmp_path / "images"), *words])
    assert done.exit_code == 1
    assert says in done.stderr
    assert not (tmp_path / "run").exists()
