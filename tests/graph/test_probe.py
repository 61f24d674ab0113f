"""The linear probe on soft targets: with one-hot targets it is logistic regression."""

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression

from pipeline.graph.probe import C, fit_targets


def test_on_hard_targets_it_is_scikit_learns():
    x = torch.randn(60, 5, generator=torch.Generator().manual_seed(0))
    y = torch.arange(60) % 3
    weight, bias = fit_targets(x, torch.eye(3)[y])
    model = LogisticRegression(C=C, max_iter=1000, tol=1e-6).fit(x.numpy(), y.numpy())
    found = (x @ weight.T + bias).softmax(dim=1).numpy()
    np.testing.assert_allclose(found, model.predict_proba(x.numpy()), atol=2e-3)


def test_a_row_of_zeros_says_nothing():
    x, targets = torch.eye(4)[:3], torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
    weight, bias = fit_targets(x, targets)
    assert weight[:, 2:].abs().max() == 0
    assert (x[:2] @ weight.T + bias).argmax(dim=1).tolist() == [0, 1]
