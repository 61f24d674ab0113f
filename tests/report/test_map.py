"""The map: where images stand, and the table of them for other tools."""

import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from pipeline.artifacts.neighbours import Neighbours
from pipeline.report import coordinates as module
from pipeline.report.coordinates import coordinates, has_umap
from pipeline.report.inputs import Run
from stages.evaluate import main as evaluate
from stages.report import main as report
from tests.commands import refusal


def clouds(each, count=3, dim=20):
    """So many far clouds, one after the other."""
    g = np.random.default_rng(0)
    return (np.repeat(10 * np.eye(count, dim), each, axis=0) + g.normal(0, 0.3, (each * count, dim))).astype(np.float32)


def together(places, each):
    """The share of images whose nearest other one on the map is of their own cloud."""
    apart = ((places[:, None] - places[None]) ** 2).sum(2)
    np.fill_diagonal(apart, np.inf)
    of = np.arange(len(places)) // each
    return (of[apart.argmin(1)] == of).mean()


@pytest.mark.parametrize(
    ("each", "method", "words"),
    [(10, "auto", "PCA"), (30, "auto", "t-SNE"), (2, "tsne", "t-SNE"), (30, "pca", "PCA")],
)
def test_like_images_are_near_each_other(each, method, words):
    x = clouds(each)
    places, said = coordinates(x, method)
    assert said == words
    assert np.abs(places).max() == pytest.approx(1)
    assert together(places, each) > 0.95 or each == 2
    np.testing.assert_array_equal(places, coordinates(x, method)[0])


def test_beyond_the_sample_images_stand_among_their_own(monkeypatch):
    monkeypatch.setattr(module, "TSNE_MOST", 60)
    x = clouds(100)
    places, said = coordinates(np.concatenate([x, x]), "tsne")
    assert said == "t-SNE of 60, the others beside the nearest of these"
    assert together(places[:300], 100) > 0.95
    seen = set(module.sample(600, 60, module.rng.stream(0, "report", "map")).tolist())
    alone = np.array([i for i in seen if (i + 300) % 600 not in seen])
    np.testing.assert_allclose(places[(alone + 300) % 600], places[alone], atol=1e-3)  # a copy lies on its image


@pytest.mark.parametrize("x", [np.ones((1, 4)), np.ones((2, 4)), np.ones((60, 1)), np.zeros((60, 4))])
def test_one_image_copies_and_one_number_have_a_place(x):
    places, _ = coordinates(x.astype(np.float32), "auto")
    assert places.shape == (len(x), 2)
    assert np.isfinite(places).all()


def call(*sets):
    return CliRunner().invoke(report, [word for item in sets for word in ("--set", item)])


def test_the_table_has_every_image_with_its_neighbours_by_row(run):
    assert CliRunner().invoke(evaluate, ["--set", "evaluate.random_draws=2"]).exit_code == 0
    assert call("report.map=pca").exit_code == 0
    table, whole = pq.read_table(run / "report/map.parquet").to_pydict(), Run.read(run)
    assert sorted(table["key"]) == list(whole.index.key)
    near = Neighbours.read(run / "graph", table["split"].count("train"))
    for i in (0, 17, 399):
        assert table["neighbors"][i]["ids"] == near.rows[i].tolist()
        assert table["neighbors"][i]["distances"] == pytest.approx(np.sqrt(near.sq_dist[i]).tolist())
    assert table["split"] == ["train"] * 400 + ["test"] * 100
    assert table["neighbors"][400:] == [None] * 100
    assert sum(table["picked"]) == len(whole.picks.keys)
    label = {key: names[0] for key, names in whole.labels.rows.items()}
    tested = dict(zip(whole.predictions.keys, whole.predictions.predictions, strict=True))
    for key, name, predicted in zip(table["key"], table["known_class"], table["prediction"], strict=True):
        assert key not in label or name == label[key]
        assert key not in tested or predicted == tested[key]
    assert call("report.map=none").exit_code == 0
    assert "x" not in pq.read_table(run / "report/map.parquet").column_names
    assert "There is no map" in (run / "report/map.html").read_text()


@pytest.mark.usefixtures("run")
@pytest.mark.skipif(has_umap(), reason="umap-learn is installed")
def test_umap_that_is_not_installed_is_refused_at_once():
    says = refusal(call("report.map=umap"))
    assert "report.map: expected the package umap-learn, found none: pip install -e '.[umap]', or take tsne" in says
