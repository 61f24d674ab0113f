"""How alike two images are: weights on the edges of the graph of nearest neighbours, and their normalised matrix."""

import warnings
from dataclasses import dataclass

import numpy as np
import scipy.sparse
import torch
from jaxtyping import Bool, Float, Int64
from numpy import ndarray
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from pipeline.artifacts.neighbours import Neighbours

SHARPNESS = 4.0  # exp(-4): the weight of an image's k-th neighbour


def edge_weights(sq_dist: Float[Tensor, "b k"]) -> Float[Tensor, "b k"]:
    """exp(-4 d_j^2 / d_k^2) for the squared distances to k neighbours, d_k the largest finite one; 0 where inf.

    Copies, at a distance of 0, have the weight 1.
    """
    finite = sq_dist.isfinite()
    largest = sq_dist.where(finite, torch.zeros_like(sq_dist)).amax(dim=1, keepdim=True)
    tiny = torch.finfo(sq_dist.dtype).tiny
    return (-SHARPNESS * sq_dist / largest.clamp(min=tiny)).exp()


@dataclass(frozen=True)
class Affinity:
    """S = D^-1/2 W D^-1/2, symmetric; W_ij is the larger of the weights of i to j and of j to i."""

    matrix: Tensor  # sparse CSR, (n, n), float32
    component: Int64[ndarray, " n"]  # two images of different components are joined by no path

    def __len__(self) -> int:
        """How many images there are."""
        return len(self.component)

    @classmethod
    def of(cls, neighbours: Neighbours, device: torch.device) -> "Affinity":
        """The matrix on a device. It holds at most 2 n k numbers."""
        n, k = neighbours.rows.shape
        weight = edge_weights(torch.from_numpy(neighbours.sq_dist)).numpy().ravel()
        linked = np.flatnonzero(neighbours.rows.ravel() >= 0)
        ends = (linked // k).astype(np.int32), neighbours.rows.ravel()[linked]
        w = scipy.sparse.csr_matrix((weight[linked], ends), (n, n))
        w = w.maximum(w.T).tocsr()
        w.sort_indices()
        degree = np.asarray(w.sum(axis=1, dtype=np.float64)).ravel()
        scale = (1 / np.sqrt(np.maximum(degree, np.finfo(np.float32).tiny))).astype(np.float32)
        w.data *= np.repeat(scale, np.diff(w.indptr)) * scale[w.indices]
        component = connected_components(w, directed=False)[1].astype(np.int64)
        return cls(_torch(w, device), component)

    def reached(self, labelled: Int64[ndarray, " m"]) -> Bool[ndarray, " n"]:
        """Which images have a path to a labelled one."""
        return np.isin(self.component, self.component[labelled])


def _torch(w: scipy.sparse.csr_matrix, device: torch.device) -> Tensor:
    starts, columns = (torch.from_numpy(part.astype(np.int64)) for part in (w.indptr, w.indices))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # torch says of its CSR matrices that they are young
        return torch.sparse_csr_tensor(
            starts, columns, torch.from_numpy(w.data), size=w.shape, check_invariants=False
        ).to(device)
