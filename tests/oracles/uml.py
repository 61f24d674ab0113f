"""UML's loss, a query at a time."""

from tests.oracles.algebra import cross_entropy, dot, unit


def episodes(queries, prototypes, tasks, shares):
    """Ye, Han and Zhan 2022: queries[v][i] and prototypes[i] are of image i, shares[v][i][j] of its j-th nearest mix.

    Prototypes are unit vectors, and so is what comes of a mix; the query alone keeps its length.
    """
    terms = []
    for view, of_view in zip(queries, shares, strict=True):
        for task in tasks:
            for place, i in enumerate(task):
                own = unit(view[i])
                others = [p for j, p in enumerate(prototypes) if j != i]
                near = sorted(others, key=lambda p, own=own: -dot(own, p))
                mixes = [
                    unit([share * a + (1 - share) * b for a, b in zip(own, p, strict=True)])
                    for share, p in zip(of_view[i], near, strict=False)
                ]
                classes = [*(prototypes[j] for j in task), *mixes]
                terms.append(cross_entropy([dot(view[i], c) for c in classes], place))
    return sum(terms) / len(terms)
