import numpy as np
import pytest

from pipeline.select.methods.kcenter import KCenter
from tests.oracles.algebra import sq_dist
from tests.pools import LABELLED_AND_BARRED, cloud, pool

MEDOID, RANDOM = KCenter(start="medoid"), KCenter(start="random")


@pytest.mark.parametrize(("labelled", "barred"), LABELLED_AND_BARRED)
def test_picks_are_those_of_a_loop(labelled, barred):
    for seed in range(3):
        x = cloud(40, seed=seed)
        rows, gaps = [], []
        for _ in range(10):
            free = [i for i in range(40) if i not in {*labelled, *barred, *rows}]
            known = [*labelled, *rows]
            if known:
                best = max(free, key=lambda i: min(sq_dist(x[i], x[s]) for s in known))
                gaps.append(min(sq_dist(x[best], x[s]) for s in known) ** 0.5)
            else:
                best = min(free, key=lambda i: sum(sq_dist(x[i], a) for a in x))
            rows.append(best)
        picks = MEDOID.select(pool(x, labelled, barred), 10, 0)
        assert picks.rows.tolist() == rows
        assert picks.scores[-len(gaps) :] == pytest.approx(gaps, rel=1e-3)


def test_the_first_score_bounds_every_distance():
    x = cloud(50)
    scores = MEDOID.select(pool(x), 5, 0).scores
    assert scores[0] >= max(sq_dist(a, b) for a in x for b in x) ** 0.5
    assert (np.diff(scores) <= 0).all()


def test_a_random_start_is_free_and_the_seeds():
    given = pool(cloud(50), barred=tuple(range(0, 50, 2)))
    starts = [int(RANDOM.select(given, 1, seed).rows[0]) for seed in range(20)]
    assert len(set(starts)) > 5
    assert given.free[starts].all()
