"""Garg et al. 2022, level by level and one number at a time: the sum of each level's FixMatch or MixMatch."""

from tests.oracles import losses
from tests.oracles import mixmatch as mixmatch_oracle
from tests.oracles.algebra import cross_entropy


def fixmatch(known, weak, strong, labels, threshold, weight):
    """Each argument but the last two has one entry a level; labels of -1 are not known and add nothing."""
    total = 0.0
    for level in range(len(labels)):
        own = [cross_entropy(row, c) for row, c in zip(known[level], labels[level], strict=True) if c >= 0]
        unlabelled, _ = losses.fixmatch(weak[level], strong[level], threshold)
        total += (sum(own) / len(own) if own else 0.0) + weight * unlabelled
    return total


def mixmatch(logits, own, views, labels, order, draws, temperature, weight):
    """`logits[level]` are those of the mixed images; `own` and `views` those that the predictions come from."""
    total = 0.0
    for level in range(len(labels)):
        copies = len(views[level])
        whole, known = mixmatch_oracle.targets(labels[level], own[level], views[level], copies, temperature)
        targets = [mixmatch_oracle.mix(whole[i], whole[j], draws[i]) for i, j in enumerate(order)]
        labelled, unlabelled = mixmatch_oracle.loss(logits[level], targets, known)
        total += labelled + weight * unlabelled
    return total
