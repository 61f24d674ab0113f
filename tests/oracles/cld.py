"""Wang, Liu & Yu 2021, one number at a time."""

from tests.oracles.algebra import cross_entropy, dot, unit


def groups(vectors, first, iterations):
    """Spherical k-means: to the centroid of the largest cosine; centroids are unit means, or stay if nobody comes."""
    centroids = [list(row) for row in first]
    for _ in range(iterations):
        clusters = [max(range(len(centroids)), key=lambda j: dot(v, centroids[j])) for v in vectors]
        for j in range(len(centroids)):
            members = [v for v, cluster in zip(vectors, clusters, strict=True) if cluster == j]
            if members:
                mean = [sum(values) / len(members) for values in zip(*members, strict=True)]
                centroids[j] = unit(mean)
    return clusters, centroids


def loss(g, clusters, centroids, temperature):
    """Half of each: a view's vectors against the other view's centroids, by the other view's clusters."""
    total = 0.0
    for own, other in ((0, 1), (1, 0)):
        for vector, cluster in zip(g[own], clusters[other], strict=True):
            total += cross_entropy([dot(vector, centroid) / temperature for centroid in centroids[other]], cluster)
    return total / 2 / len(g[0])
