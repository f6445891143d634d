"""Ridge regression from a data set's features: the plain reference that a network must beat.

One linear map from the features of a moment to its label, without context, fitted to the training items of a fold.
Features are standardised and labels centred by the training frames. The strength of the penalty is the one of `ALPHAS`
with the lowest squared error on training items that were held out, a group at a time; test items play no part in it.
"""

# ruff: noqa: N815 - fields carry their shape

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
ALPHAS = tuple(10.0**power for power in range(-2, 7))
"""Penalties on the squared norm of the weights, in units of the summed squared error."""
GROUPS = 10
"""Most groups that the training items are held out in; up to so many items, each is a group."""


@dataclass(frozen=True)
class Ridge:
    """A fitted map: the prediction of a row x_D is (x_D - mean_D) / deviation_D @ weight_D + offset."""

    mean_D: Array
    deviation_D: Array
    weight_D: Array
    offset: float
    alpha: float

    def predict(self, x_TD: Array) -> Array:
        """Predictions [T] for rows [T, D]."""
        return np.asarray((x_TD - self.mean_D) / self.deviation_D @ self.weight_D + self.offset)


def fit(features: Mapping[str, Array], labels: Mapping[str, Array], train: Sequence[str]) -> Ridge:
    """Fit to the training items, with the penalty that predicts held-out ones of them best.

    Args:
        features: x_TD by item.
        labels: y_T by item.
        train: two items or more.
    """
    groups = [list(train[start::GROUPS]) for start in range(min(GROUPS, len(train)))]
    errors = np.zeros(len(ALPHAS))
    for held_out in groups:
        rest = [item for item in train if item not in held_out]
        for index, model in enumerate(_fitted(features, labels, rest)):
            errors[index] += sum(np.square(model.predict(features[item]) - labels[item]).sum() for item in held_out)
    return _fitted(features, labels, train)[int(errors.argmin())]


def _fitted(features: Mapping[str, Array], labels: Mapping[str, Array], items: Sequence[str]) -> list[Ridge]:
    """The map of each penalty, fitted to all rows of the items."""
    x_ND = np.concatenate([features[item] for item in items])
    y_N = np.concatenate([labels[item] for item in items])
    mean_D, deviation_D, offset = x_ND.mean(axis=0), x_ND.std(axis=0), float(y_N.mean())
    deviation_D = np.where(deviation_D > 1e-12, deviation_D, 1.0)  # a feature that does not vary says nothing
    z_ND = (x_ND - mean_D) / deviation_D
    # in the basis of the features' own scatter, a penalty is an addition to its eigenvalues: one decomposition for all
    value_D, basis_DD = np.linalg.eigh(z_ND.T @ z_ND)
    along_D = basis_DD.T @ (z_ND.T @ (y_N - offset))
    return [Ridge(mean_D, deviation_D, basis_DD @ (along_D / (value_D + alpha)), offset, alpha) for alpha in ALPHAS]
