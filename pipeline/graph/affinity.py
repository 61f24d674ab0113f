"""How alike two images are: weights on the edges of the graph of nearest neighbours, and their normalised matrix."""

import warnings
from dataclasses import dataclass

import numpy as np
import scipy.sparse
import torch
from jaxtyping import Int64
from scipy.sparse.csgraph import reverse_cuthill_mckee
from torch import Tensor

from pipeline.artifacts.neighbours import Neighbours
from pipeline.nn.neighbour_vote import edge_weights


@dataclass(frozen=True)
class Affinity:
    """S = D^-1/2 W D^-1/2, symmetric; W_ij is the larger of the weights of i to j and of j to i.

    Row r of the matrix is image `order[r]`: neighbours stand near each other, so that a product finds most of what it
    reads in the processor's caches. Where images come in random order that is two to three times as fast.
    """

    matrix: Tensor  # sparse CSR, (n, n), float32
    order: Int64[Tensor, " n"]

    def __len__(self) -> int:
        """How many images there are."""
        return self.matrix.shape[0]

    @classmethod
    def of(cls, neighbours: Neighbours, device: torch.device) -> "Affinity":
        """The matrix on a device. It holds at most 2 n k numbers."""
        n, k = neighbours.rows.shape
        weight = edge_weights(torch.from_numpy(neighbours.sq_dist)).numpy().ravel()
        linked = np.flatnonzero(neighbours.rows.ravel() >= 0)
        ends = (linked // k).astype(np.int32), neighbours.rows.ravel()[linked]
        w = scipy.sparse.csr_matrix((weight[linked], ends), (n, n))
        w = w.maximum(w.T).tocsr()
        order = reverse_cuthill_mckee(w, symmetric_mode=True)
        w = w[order][:, order]
        w.sort_indices()
        degree = np.asarray(w.sum(axis=1, dtype=np.float64)).ravel()
        scale = (1 / np.sqrt(np.maximum(degree, np.finfo(np.float32).tiny))).astype(np.float32)
        w.data *= np.repeat(scale, np.diff(w.indptr)) * scale[w.indices]
        return cls(_torch(w, device), torch.from_numpy(order.astype(np.int64)).to(device))


def _torch(w: scipy.sparse.csr_matrix, device: torch.device) -> Tensor:
    starts, columns = (torch.from_numpy(part.astype(np.int64)) for part in (w.indptr, w.indices))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # torch says of its CSR matrices that they are young
        return torch.sparse_csr_tensor(
            starts, columns, torch.from_numpy(w.data), size=w.shape, check_invariants=False
        ).to(device)
