"""TypiClust again, in plain loops, from Hacohen et al. (ICML 2022), section 3.2, given the clusters."""

from tests.oracles.algebra import sq_dist


def typicality(x, members, i, neighbours):
    """Inverse mean squared distance to the nearest of the cluster, without the image itself."""
    nearest = sorted(sq_dist(x[i], x[j]) for j in members if j != i)[: min(neighbours, len(members) // 2)]
    return 1 / (sum(nearest) / len(nearest) + 1e-5)


def picks(x, cluster, labelled, barred, budget, neighbours, dropped):
    """Again and again from the cluster with the fewest labelled, of these the largest."""
    members = {c: [i for i in range(len(x)) if cluster[i] == c] for c in sorted(set(cluster))}
    known, rows = set(labelled), []
    while len(rows) < budget:
        order = sorted((sum(i in known for i in own), -len(own), c) for c, own in members.items() if len(own) > dropped)
        for _, _, c in order:
            free = [i for i in members[c] if i not in known and i not in barred]
            if free:
                best = max(free, key=lambda i: typicality(x, members[c], i, neighbours))
                rows.append(best)
                known.add(best)
                break
    return rows
