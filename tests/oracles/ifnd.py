"""Chen et al. 2022: MoCo's cross-entropy without the rows of a query's clusters, one query at a time."""

from tests.oracles.losses import moco


def kept(of_query, of_rows):
    """The rows, each with its clusters in some clusterings, that share none with the query; all, if none is left."""
    left = [
        i
        for i, of_row in enumerate(of_rows)
        if not any(a == b and a is not None for a, b in zip(of_query, of_row, strict=True))
    ]
    return left or list(range(len(of_rows)))


def ifnd(q, k, queue, of_queries, of_rows, temperature):
    each = [
        moco([query], [key], [queue[i] for i in kept(clusters, of_rows)], temperature)
        for query, key, clusters in zip(q, k, of_queries, strict=True)
    ]
    return sum(each) / len(q)
