"""Wang, Liu & Yu 2021, one number at a time."""

import math


def dot(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True))


def groups(vectors, first, iterations):
    """Spherical k-means: to the centroid of the largest cosine; centroids are unit means, or stay if nobody comes."""
    centroids = [list(row) for row in first]
    for _ in range(iterations):
        clusters = [max(range(len(centroids)), key=lambda j: dot(v, centroids[j])) for v in vectors]
        for j in range(len(centroids)):
            members = [v for v, cluster in zip(vectors, clusters, strict=True) if cluster == j]
            if members:
                mean = [sum(values) / len(members) for values in zip(*members, strict=True)]
                length = math.sqrt(dot(mean, mean))
                centroids[j] = [value / length for value in mean]
    return clusters, centroids


def loss(g, clusters, centroids, temperature):
    """Half of each: a view's vectors against the other view's centroids, by the other view's clusters."""
    total = 0.0
    for own, other in ((0, 1), (1, 0)):
        for vector, cluster in zip(g[own], clusters[other], strict=True):
            logits = [dot(vector, centroid) / temperature for centroid in centroids[other]]
            total += math.log(sum(math.exp(value) for value in logits)) - logits[cluster]
    return total / 2 / len(g[0])
