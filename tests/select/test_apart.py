import numpy as np

from pipeline.select.apart import Taken, on_sphere
from tests.pools import cloud, pool


def test_unit_rows_keep_their_pool_and_what_it_knows():
    given = pool(cloud(20))
    assert on_sphere(given) is given
    rounded = pool(cloud(20).astype(np.float16).astype(np.float32))
    assert on_sphere(rounded) is rounded


def test_other_rows_are_brought_to_unit_length_or_stay_zero():
    x = cloud(5) * np.array([[1e-18], [1e15], [1], [0], [3]], np.float32)
    found = on_sphere(pool(x, labelled=(1,), barred=(2,)))
    expected = cloud(5)
    expected[3] = 0
    assert np.allclose(found.x, expected, atol=1e-6)
    assert found.labelled.tolist() == [1]
    assert found.barred.tolist() == [False, False, True, False, False]


def test_taken_tells_copies_of_labelled_rows_and_of_picks():
    x = np.repeat(cloud(4, 64), 2, axis=0)
    x[1] *= np.float32(1 + 1e-7)
    taken = Taken(pool(x, labelled=(0,)), 2)
    assert taken.copies(np.arange(8)).tolist() == [True, True] + [False] * 6
    taken.add(5)
    assert taken.copies(np.array([5, 4, 3])).tolist() == [True, True, False]
    assert Taken(pool(x), 1).copies(np.arange(8)).tolist() == [False] * 8
