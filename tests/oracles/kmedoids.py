"""Eager swapping as FasterPAM does it, but with every sum of distances made anew (Schubert and Rousseeuw 2021)."""


def total(distance, chosen):
    return sum(min(distance[m][o] for m in chosen) for o in range(len(distance)))


def medoids(distance, k):
    """From the first k rows; each row in turn, with the best medoid to leave for it, until no row helps."""
    chosen, tried, row = list(range(k)), 0, k
    while tried < len(distance):
        row, tried = row % len(distance), tried + 1
        if row not in chosen:
            trials = [total(distance, [*chosen[:i], row, *chosen[i + 1 :]]) for i in range(k)]
            if min(trials) < total(distance, chosen) - 1e-7:
                chosen[trials.index(min(trials))], tried = row, 0
        row += 1
    return chosen
