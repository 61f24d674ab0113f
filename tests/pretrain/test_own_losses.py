"""Each self-supervised method has the loss of its own projections, as plain loops compute it."""

import itertools
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from pipeline.nn.classifier import read_backbone
from pipeline.nn.lab import lab
from pipeline.nn.primitives import feature_std
from pipeline.pretrain.methods import METHODS
from pipeline.pretrain.methods.interclr import Drawn
from pipeline.pretrain.methods.mochi import Mixes
from pipeline.pretrain.methods.swav import swav_codes
from pipeline.pretrain.prototypes import swapped_loss
from tests.digits import larger, self_supervised
from tests.oracles import (
    ascl,
    barlow_twins,
    byol,
    dino,
    ifnd,
    interclr,
    losses,
    mira,
    mochi,
    msf,
    ncc,
    npid,
    pretext,
    simclr,
    swav,
    uml,
    vicreg,
    xmoco,
)
from tests.oracles.algebra import cross_entropy

PLAIN = {"moco": {"bn_groups": 1}, "ncc": {"noise": 0.0}, "npid": {"negatives": 0}, "swav": {"frozen": 0.0}}
CLUSTERED = ("ifnd", "interclr", "ncc")


def both(encoder, views):
    return (encoder(view)[1] for view in (views.first, views.second))


def of_byol(method, views):
    z1, z2 = both(method.student, views)
    targets = [x.tolist() for x in both(method.teacher, views)]
    return z1, byol.byol(method.predictor(z1).tolist(), method.predictor(z2).tolist(), *targets)


def of_simsiam(method, views):
    z1, z2 = both(method.encoder, views)
    return z1, 1 + byol.simsiam(*(x.tolist() for x in (method.predictor(z1), method.predictor(z2), z1, z2)))


def of_simreg(method, views):
    """Of both views at once; the teacher, in eval mode, sees the same images."""
    images = torch.cat([views.first, views.second])
    p = method.encoder(images)[1]
    return p[:8], byol.simreg(p.tolist(), read_backbone(Path(larger(1))).eval()(images).tolist())


def of_barlow_twins(method, views):
    z1, z2 = both(method.encoder, views)
    return z1, 0.1 * barlow_twins.barlow_twins(z1.tolist(), z2.tolist(), 0.0051)


def of_vicreg(method, views):
    z1, z2 = both(method.encoder, views)
    return z1, vicreg.vicreg(z1.tolist(), z2.tolist(), 25.0, 25.0, 1.0)


def together(method, views):
    """Unit projections of both views, passed through the network at once."""
    return F.normalize(method.encoder(torch.cat([views.first, views.second]))[1], dim=1)


def of_simclr(method, views):
    z = together(method, views)
    return z[:8], simclr.simclr(z[:8].tolist(), z[8:].tolist(), 0.5)


def of_npid(method, views):
    z = together(method, views)
    return z[:8], npid.softmax(z.tolist(), method.bank.rows.tolist(), views.rows.tolist() * 2, 0.1)


def of_exemplar(method, views):
    z = together(method, views)
    return z[:8], npid.softmax(z.tolist(), F.normalize(method.classes, dim=1).tolist(), views.rows.tolist() * 2, 0.1)


def of_moco(method, views):
    q1, q2 = (F.normalize(z, dim=1) for z in both(method.student, views))
    k1, k2 = (F.normalize(z, dim=1) for z in both(method.teacher, views))
    rows = method.queue.rows.tolist()
    return q2, sum(losses.moco(q.tolist(), k.tolist(), rows, 0.2) for q, k in ((q1, k2), (q2, k1))) / 2


def of_xmoco(method, views):
    q1, q2 = (F.normalize(z, dim=1).tolist() for z in both(method.student, views))
    k1, k2 = (F.normalize(z, dim=1).tolist() for z in both(method.teacher, views))
    rows, total = method.queue.rows.tolist(), 0.0
    for q, k in ((q1, k2), (q2, k1)):
        total += losses.moco(q, k, rows, 0.2) + 0.5 * xmoco.crossed(q, k) + 0.2 * xmoco.uneven(q, rows, 0.2)
    return torch.tensor(q2), total / 2


def of_mochi(method, views):
    torch.manual_seed(0)
    q1, q2 = (F.normalize(z, dim=1) for z in both(method.student, views))
    k1, k2 = (F.normalize(z, dim=1) for z in both(method.teacher, views))
    rows, total = method.queue.rows.tolist(), 0.0
    for q, k in ((q1, k2), (q2, k1)):
        mixes = [part.tolist() for part in Mixes.drawn(6, 30, 10, q.device)]
        total += mochi.mochi(q.tolist(), k.tolist(), rows, 0.2, 6, mixes) / 2
    torch.manual_seed(0)
    return q2, total


def of_ifnd(method, views):
    """Nine in ten images are sure enough; the queue holds images and rows of its start."""
    method.progress = 0.9
    # Row -1 is no image: that the last image is sure, and like a query, must not matter.
    method.clusters.doubt[:, -1], method.clusters.labels[:, -1] = 0, method.clusters.labels[:, views.rows[1]]
    method.numbers.push(torch.arange(40))
    clusters = [
        [None if doubt >= 0.9 else label for label, doubt in zip(*columns, strict=True)]
        for columns in zip(method.clusters.labels.T.tolist(), method.clusters.doubt.T.tolist(), strict=True)
    ]
    q1, q2 = (F.normalize(z, dim=1) for z in both(method.student, views))
    k1, k2 = (F.normalize(z, dim=1) for z in both(method.teacher, views))
    of_queries = [clusters[i] for i in views.rows]
    of_rows = [clusters[i] if i >= 0 else [None, None] for i in method.numbers.rows]
    rows, pairs = method.queue.rows.tolist(), ((q1, k2), (q2, k1))
    return q2, sum(ifnd.ifnd(q.tolist(), k.tolist(), rows, of_queries, of_rows, 0.2) for q, k in pairs) / 2


def of_interclr(method, views):
    torch.manual_seed(0)
    q1, q2 = (F.normalize(z, dim=1) for z in both(method.student, views))
    k1, k2 = (F.normalize(z, dim=1) for z in both(method.teacher, views))
    labels, rows, bank = (
        method.clusters.labels[0].tolist(),
        method.queue.rows.tolist(),
        method.clusters.bank.rows.tolist(),
    )
    of_queries, total = [labels[i] for i in views.rows], 0.0
    for q, k in ((q1, k2), (q2, k1)):
        order, ranks = (part.tolist() for part in Drawn.of(300, 30, 20, q.device))
        inter = interclr.inter(q.tolist(), bank, of_queries, labels, order, ranks, 0.2, 0.5, 30)
        total += (0.75 * losses.moco(q.tolist(), k.tolist(), rows, 0.2) + 0.25 * inter) / 2
    torch.manual_seed(0)
    return q2, total


def of_ascl(method, views):
    q1, q2 = (F.normalize(z, dim=1) for z in both(method.student, views))
    k1, k2 = (F.normalize(z, dim=1) for z in both(method.teacher, views))
    rows = method.queue.rows.tolist()
    pairs = ((q1, k2), (q2, k1))
    return q2, sum(ascl.ascl(q.tolist(), k.tolist(), rows, 0.2, 0.1, 2.0) for q, k in pairs) / 2


def of_ncc(method, views):
    """Without noise, with clusters."""
    z1, z2 = both(method.student, views)
    k1, k2 = both(method.teacher, views)
    labels = method.clusters.labels[0, views.rows].tolist()
    targets = [x.tolist() for x in (k1, k2)]
    positive = byol.byol(method.predictor(z1).tolist(), method.predictor(z2).tolist(), *targets) / 2
    q, k = ([F.normalize(x, dim=1).tolist() for x in pair] for pair in ((z1, z2), (k2, k1)))
    scattered = [ncc.scattering(a, b, labels, 0.5) for a, b in zip(q, k, strict=True)]
    return z1, positive + 0.5 * sum(scattered) / 2


def of_msf(method, views):
    """Other images of the batch can be neighbours: the memory is the queue as it will be after the step."""
    z, u = method.student(views.first)[1], F.normalize(method.teacher(views.second)[1], dim=1).tolist()
    memory = msf.push(method.queue.rows.tolist(), u)
    return z, msf.msf(method.predictor(z).tolist(), u, memory, 3)


def of_mira(method, views):
    """Views of a size together; the student's head sees all of them."""
    large = torch.cat([views.first, views.second])
    y = F.normalize(method.teacher(large)[1], dim=1).reshape(2, 8, 8)
    h = [method.student.backbone(part) for part in (large, views.local.flatten(0, 1))]
    z = F.normalize(method.student.head(torch.cat(h)), dim=1).reshape(4, 8, 8)
    w = [mira.targets(view.tolist(), method.prototypes.tolist(), 0.225, 0.75, 30) for view in y]
    return z[0], swav.loss(z.tolist(), w, method.prototypes.tolist(), 0.1)


def of_swav(method, views):
    """The large and the small views in that order, with the codes of the large ones."""
    h = [method.backbone(part) for part in (torch.cat([views.first, views.second]), views.local.flatten(0, 1))]
    z = F.normalize(method.head(torch.cat(h)), dim=1).reshape(4, 8, 8)
    q = torch.stack([swav_codes(z[i], method.prototypes, 0.05, 3) for i in (0, 1)])
    return z[0], swapped_loss(z, q, method.prototypes, 0.1).item()


def of_dino(method, views):
    """Of all views, as the teacher sees the large ones; the centre is that of a few steps."""
    method.centre.copy_(torch.linspace(-0.5, 0.5, 12))
    large = torch.cat([views.first, views.second])
    h = [method.student.backbone(part) for part in (large, views.local.flatten(0, 1))]
    z = F.normalize(method.student.head(torch.cat(h)), dim=1).reshape(4, 8, 8)
    student = z @ F.normalize(method.student.prototypes, dim=1).T
    taught = F.normalize(method.teacher.head(method.teacher.backbone(large)), dim=1)
    taught = (taught @ F.normalize(method.teacher.prototypes, dim=1).T).reshape(2, 8, 12)
    return z[0], dino.loss(student.tolist(), taught.tolist(), method.centre.tolist(), 0.1, 0.04)


def of_rotation(method, views):
    """Turns as index arithmetic: a quarter turn takes column j from the right to row j from the top."""
    turned = [views.first]
    for _ in range(3):
        turned.append(turned[-1].transpose(2, 3).flip(2))
    h = method.backbone(torch.cat(turned))
    return h[:8], pretext.rotation(method.classify(h).reshape(4, 8, 4).tolist())


def of_split_brain(method, views):
    """At each place of both maps, a cell of the image, the bin of the other network's mean there."""
    method.loss(views)  # finds the centres
    planes = lab(views.first).double() / torch.tensor([50, 110, 110])[:, None, None]
    maps = method.backbone.body.maps(method.backbone.normalised(views.first))
    terms = []
    for name, found in maps.items():
        logits, step = method.guess[name](found), planes.shape[2] // found.shape[2]
        for i, row, column in itertools.product(range(8), range(found.shape[2]), range(found.shape[3])):
            cell = planes[i, :, row * step : (row + 1) * step, column * step : (column + 1) * step]
            light, *colours = cell.flatten(1).mean(dim=1).tolist()
            far = [math.dist(colours, centre) for centre in method.colours.centres.tolist()]
            right = far.index(min(far)) if name == "lightness" else min(int(light / 2 * 5), 4)
            terms.append(cross_entropy(logits[i, :, row, column].tolist(), right))
    return method.backbone(views.first), 2 * sum(terms) / len(terms)


def of_uml(method, views):
    """The draws are the method's first: places of the images in a task, then shares of the mixes."""
    torch.manual_seed(0)
    tasks, share = torch.rand(6, 8).argsort(dim=1)[:, :4], torch.rand(3, 8, 2) / 2
    torch.manual_seed(0)
    h = method.backbone(torch.cat([views.first, views.second])).unflatten(0, (2, 8))
    small = method.backbone(views.local.flatten(0, 1)).unflatten(0, (2, 8))
    q, p = torch.cat([h[1:], small]), F.normalize(h[0], dim=1)
    return h[0], uml.episodes(q.tolist(), p.tolist(), tasks.tolist(), share.tolist())


EXPECTED = {
    "ascl": of_ascl, "barlow_twins": of_barlow_twins, "byol": of_byol, "cmsf": of_msf, "dino": of_dino,
    "exemplar": of_exemplar, "ifnd": of_ifnd, "interclr": of_interclr, "mira": of_mira, "mochi": of_mochi,
    "moco": of_moco, "msf": of_msf, "ncc": of_ncc, "npid": of_npid, "rotation": of_rotation, "simclr": of_simclr,
    "split_brain": of_split_brain,
    "simreg": of_simreg, "simsiam": of_simsiam, "swav": of_swav, "uml": of_uml, "vicreg": of_vicreg, "xmoco": of_xmoco,
}  # fmt: skip


@pytest.mark.parametrize("name", EXPECTED)
def test_the_method_has_the_loss_of_its_projections(name):
    """CMSF's, in the first epoch, is MSF's."""
    method, feed = self_supervised(name, **PLAIN.get(name, {}))
    if name in CLUSTERED:
        method.clusters.find(method.clusters.bank.rows)
    views = feed(0)
    views = replace(views, second=1 - views.second)  # so that it matters which view is which
    with torch.no_grad():
        z, expected = EXPECTED[name](method, views)
    step = method.loss(views)
    assert step.loss.item() == pytest.approx(expected, rel=1e-3 if name == "barlow_twins" else 1e-4)
    torch.testing.assert_close(step.logs["feature_std"], feature_std(z))


def test_the_expected_losses_are_of_all_methods():
    # These have tests elsewhere, as they draw more than views.
    drawn = {"context", "jigsaw", "mae", "maskfeat", "orl", "pirl"}
    assert {*EXPECTED, *drawn} == set(METHODS)
