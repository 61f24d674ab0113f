"""Losses of queries beside a queue, a memory or clusters, for `test_losses`: MoCo and its relatives, mean shift."""

import torch

from pipeline.pretrain.methods.ascl import ascl_loss
from pipeline.pretrain.methods.cmsf import cmsf_loss
from pipeline.pretrain.methods.ifnd import false_negatives
from pipeline.pretrain.methods.interclr import Drawn, inter_loss
from pipeline.pretrain.methods.mochi import Mixes, mochi_loss
from pipeline.pretrain.methods.msf import msf_loss
from pipeline.pretrain.methods.xmoco import crossed, uneven
from pipeline.pretrain.momentum_contrast import moco_loss
from tests.oracles import ascl, ifnd, interclr, losses, mochi, msf, xmoco
from tests.pretrain.cases import Case, projections


def neighbours(missing_w=(), missing_rows=()):
    """Six images, a memory of sixteen with them in front; what has no earlier embedding has a row of zeros."""
    v, u, w, rows, earlier = projections(6, 6, 6, 10, 10)
    memory, earlier = torch.cat([u, rows]), torch.cat([w, earlier])
    w[list(missing_w)] = 0
    earlier[[*missing_w, *missing_rows]] = 0
    return [v, u, w, memory, earlier]


def cmsf_oracle(k, constrained):
    def looped(v, u, w, memory, earlier):
        there = [[row if any(row) else None for row in x] for x in (w, earlier)]
        return msf.cmsf(v, u, there[0], memory, there[1], k, constrained)

    return looped


def mixes(hardest, s, t):
    return Mixes.drawn(hardest, s, t, torch.device("cpu"))


MISSING = [((), ()), ((1, 4), ()), ((1, 4), range(6, 16)), (range(5), range(6, 16)), ((), range(6, 12))]
CASES: dict[str, Case] = {
    "moco": Case(
        lambda q, k, queue: moco_loss(q, k, queue, 0.2),
        lambda q, k, queue: losses.moco(q, k, queue, 0.2),
        projections(5, 5, 7),
        1,
    ),
}
for n in (0.0, 1.0, 50.0):
    CASES[f"ascl, n {n}"] = Case(
        lambda *x, n=n: ascl_loss(*x, 0.2, 0.1, n), lambda *x, n=n: ascl.ascl(*x, 0.2, 0.1, n), projections(5, 5, 7), 1
    )
OF_QUERIES, OF_ROWS = (
    torch.tensor([[0, 1, -1, 2, -1], [4, 5, -1, 6, 7]]),
    torch.tensor([[0, 2, 1, -1, 2, 0, 2], [4, 4, 5, -1, 6, 6, 6]]),
)
ALL_OF_ONE = torch.full((2, 7), 7)
for name, of_rows in (("some", OF_ROWS), ("all of a query's", ALL_OF_ONE)):
    absent = false_negatives(OF_QUERIES, of_rows)
    columns = [[[None if a < 0 else a for a in column] for column in x.T.tolist()] for x in (OF_QUERIES, of_rows)]
    CASES[f"ifnd, {name} left out"] = Case(
        lambda *x, absent=absent: moco_loss(*x, 0.2, absent),
        lambda *x, columns=columns: ifnd.ifnd(*x, *columns, 0.2),
        projections(5, 5, 7),
        1,
    )
for candidates, of_rows in ((4, [0, 0, 1, 1, 2, 2, 0]), (7, [0, 0, 1, 1, 2, 1, 0])):
    drawn = Drawn.of(7, candidates, candidates, torch.device("cpu"))
    labels = torch.tensor([0, 1, 2, 1, 0]), torch.tensor(of_rows)
    CASES[f"interclr, {candidates} candidates"] = Case(
        lambda *x, d=drawn, y=labels, c=candidates: inter_loss(*x, *y, d, 0.2, 0.5, c),
        lambda *x, d=drawn, y=labels, c=candidates: interclr.inter(
            *x, *(part.tolist() for part in (*y, *d)), 0.2, 0.5, c
        ),
        projections(5, 7),
        1,
    )
CASES |= {
    "xmoco, crossed": Case(crossed, xmoco.crossed, projections(5, 5), 1),
    "xmoco, uneven": Case(lambda *x: uneven(*x, 0.2), lambda *x: xmoco.uneven(*x, 0.2), projections(5, 7), 1),
}
for s, t in ((6, 0), (0, 6), (4, 3)):
    drawn = mixes(5, s, t)
    CASES[f"mochi, {s} and {t} mixes"] = Case(
        lambda *x, drawn=drawn: mochi_loss(*x, 0.2, 5, drawn),
        lambda *x, drawn=drawn: mochi.mochi(*x, 0.2, 5, [part.tolist() for part in drawn]),
        projections(5, 5, 7),
        1 if t == 0 else 0,  # no gradient passes a query's part in its mixes, so finite differences do not hold
    )
for k in (1, 3, 12):
    v, u, rows = projections(5, 5, 7)
    CASES[f"msf, k {k}"] = Case(
        lambda *x, k=k: msf_loss(*x, k), lambda *x, k=k: msf.msf(*x, k), [3 * v, u, torch.cat([u, rows])], 1
    )
for k, constrained in ((3, 3), (2, 6), (4, 1), (1, 1), (16, 16)):
    for i, missing in enumerate(MISSING):
        CASES[f"cmsf, k {k}, {constrained}, {i}"] = Case(
            lambda *x, k=k, c=constrained: cmsf_loss(*x, k, c), cmsf_oracle(k, constrained), neighbours(*missing), 1
        )
