"""Which images PromptCAL draws together, one pair at a time."""

from tests.oracles.algebra import dot


def affinity(nodes, absent, own, label, neighbours):
    """S + S R; see `pipeline.train.affinity`."""
    here = [i for i in range(len(nodes)) if not absent[i]]
    hoods = []
    for c in here:
        nearest = sorted((j for j in here if j != c), key=lambda j, c=c: -dot(nodes[c], nodes[j]))
        hoods.append({c, *nearest[:neighbours]})

    def row(i):
        together = [sum({i, j} <= hood for hood in hoods) if j != i else 0 for j in range(len(nodes))]
        return [count / sum(together) if sum(together) else 0.0 for count in together]

    def told(i):
        counted = row(i)
        for j in range(len(nodes)):
            if label[i] >= 0 and label[j] >= 0:
                counted[j] = max(row(i)) if label[i] == label[j] and i != j else 0.0
        return [value / sum(counted) for value in counted]

    rows = [row(j) for j in range(len(nodes))]
    return [
        [own_row[j] + sum(own_row[m] * rows[m][j] for m in range(len(nodes))) for j in range(len(nodes))]
        for own_row in map(told, own)
    ]
