"""Neighbours in feature space and what is made of them: what SMOGN, SmoteR and REBAGG share.

A *pool* is the set of rows among which neighbours are sought: the frames of a time slice, or the rare labels of one
side. Pools are ranges of a list of rows, and differ in size; so pairs of a sample and a row of its pool are laid out
one after another, without padding. In shapes: R rows of the chunk, Q new samples, P pairs, L rows of the largest pool,
d feature width.
"""

# ruff: noqa: N815 - fields carry their shape

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from utopia.samplers._slices import pick


@dataclass(frozen=True)
class Pairs:
    """Every new sample with every row of its pool."""

    sample_P: Tensor
    row_P: Tensor
    place_P: Tensor
    """Place of the row in the pool."""
    size_Q: Tensor


def pair(list_M: Tensor | None, range_Q2: Tensor) -> Pairs:
    """Lay out the pairs.

    Args:
        list_M: the rows that ranges refer to; None: the rows of the chunk themselves.
        range_Q2: the half-open range of each sample's pool.
    """
    first_Q, last_Q = range_Q2.unbind(dim=1)
    size_Q = last_Q - first_Q
    sample_P = torch.repeat_interleave(torch.arange(len(size_Q), device=size_Q.device), size_Q)
    place_P = torch.arange(len(sample_P), device=size_Q.device) - (size_Q.cumsum(0) - size_Q)[sample_P]
    row_P = first_Q[sample_P] + place_P
    return Pairs(sample_P, row_P if list_M is None else list_M[row_P], place_P, size_Q)


@dataclass(frozen=True)
class Neighbours:
    """One neighbour of each sample's base."""

    row_Q: Tensor
    """The neighbour; the base itself if it is alone in its pool."""
    distance_Q: Tensor
    """Its Euclidean distance; infinite if the base is alone."""
    median_Q: Tensor
    """The median distance from the base to all rows of its pool, itself included; infinite if the base is alone."""


@torch.no_grad()
def exact_distances(feature_Rd: Tensor, base_Q: Tensor, pairs: Pairs) -> Tensor:
    """Euclidean distance of each pair [P]; 0 for features that are equal."""
    return (feature_Rd[pairs.row_P] - feature_Rd[base_Q][pairs.sample_P]).square().sum(dim=1).sqrt()


@torch.no_grad()
def quick_distances(feature_Rd: Tensor, base_Q: Tensor, pairs: Pairs) -> Tensor:
    """The same by |a|^2 - 2 ab + |b|^2 with one matrix product: for large pools, good enough to order them."""
    centred_Rd = feature_Rd - feature_Rd.mean(dim=0)
    square_R = centred_Rd.square().sum(dim=1)
    distance_QR = torch.addmm(square_R, centred_Rd[base_Q], centred_Rd.T, alpha=-2) + square_R[base_Q][:, None]
    return distance_QR[pairs.sample_P, pairs.row_P].clamp(min=0).sqrt()


@torch.no_grad()
def draw_neighbour(distance_P: Tensor, base_Q: Tensor, pairs: Pairs, k: int, chance_Q: Tensor) -> Neighbours:
    """One of the k nearest other rows of the pool (of all, if there are fewer), each as likely.

    Args:
        distance_P: distance of each pair.
        base_Q: the row of each sample's base; it is in its pool.
        pairs: see `pair`.
        k: how many are near.
        chance_Q: uniform numbers that decide.
    """
    others_Q = pairs.size_Q - 1
    if not len(base_Q):
        return Neighbours(base_Q, distance_P, distance_P)
    # neither the base itself nor padding is a neighbour; a base that is alone has only them, and is at infinity
    distance_P = distance_P.masked_fill(pairs.row_P == base_Q[pairs.sample_P], torch.inf)
    shape = len(base_Q), int(pairs.size_Q.max())
    distance_QL = distance_P.new_full(shape, torch.inf)
    row_QL = base_Q[:, None].expand(shape).clone()
    distance_QL[pairs.sample_P, pairs.place_P] = distance_P
    row_QL[pairs.sample_P, pairs.place_P] = pairs.row_P
    sorted_QL, order_QL = distance_QL.sort(dim=1, stable=True)
    place_Q1 = pick(chance_Q, others_Q.clamp(1, k))[:, None]
    to_pool_QL = torch.cat([torch.zeros_like(sorted_QL[:, :1]), sorted_QL], dim=1)
    middle_Q2 = torch.stack([others_Q // 2, pairs.size_Q // 2], dim=1)
    median_Q = to_pool_QL.gather(1, middle_Q2).mean(dim=1).masked_fill(others_Q == 0, torch.inf)
    row_Q = row_QL.gather(1, order_QL.gather(1, place_Q1)).squeeze(1)
    distance_Q = sorted_QL.gather(1, place_Q1).squeeze(1)
    return Neighbours(row_Q, distance_Q, median_Q)


def label_limits(target_R: Tensor, lengths: Sequence[int]) -> Tensor:
    """Lowest and highest label of each video [V, 2]: noise does not carry a label beyond them."""
    return torch.stack([torch.stack([y_T.min(), y_T.max()]) for y_T in target_R.split(list(lengths))])


@torch.no_grad()
def spread(value_R: Tensor, base_Q: Tensor, pairs: Pairs) -> Tensor:
    """The standard deviation of a quantity [R, ...] over each sample's pool [Q, ...]; exactly 0 where it does not vary.

    n - 1 below, as in the packages of SMOGN's and REBAGG's authors; a pool of one row has deviation 0.
    """
    from_base_P = value_R[pairs.row_P] - value_R[base_Q][pairs.sample_P]
    shape = (len(base_Q), *value_R.shape[1:])
    size_Q = pairs.size_Q.to(value_R.dtype).reshape(-1, *[1] * (value_R.dim() - 1))
    mean_Q = from_base_P.new_zeros(shape).index_add_(0, pairs.sample_P, from_base_P) / size_Q
    from_mean_P = from_base_P - mean_Q[pairs.sample_P]
    square_Q = from_base_P.new_zeros(shape).index_add_(0, pairs.sample_P, from_mean_P.square())
    return (square_Q / (size_Q - 1).clamp(min=1)).sqrt()
