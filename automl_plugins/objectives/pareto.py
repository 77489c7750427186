"""Pareto fronts, of architectures that no other one beats in every respect, and the volume that they cover.

Scores are `[num_points, num_objectives]`, larger is better in each. A point with a score that is nan or infinite is in
no front, ranks behind all others, and covers nothing.
"""

from __future__ import annotations

import numpy as np


def pareto_front(scores: np.ndarray) -> np.ndarray:
    """The points that no other point dominates: as good in every objective and better in one.

    Returns:
        bool `[num_points]`; of equal points all are in the front, or none.
    """
    return dominance_ranks(scores) == 0


def dominance_ranks(scores: np.ndarray) -> np.ndarray:
    """Non-dominated sorting (Deb et al., NSGA-II, 2002): 0 for the front, 1 for the front without it, and so on.

    Returns:
        int `[num_points]`.
    """
    scores = np.asarray(scores, dtype=float)
    finite = np.isfinite(scores).all(axis=1)
    found = _ranks(scores[finite])
    ranks = np.full(len(scores), found.max(initial=0) + 1)
    ranks[finite] = found
    return ranks


def _ranks(scores: np.ndarray) -> np.ndarray:
    points, place = np.unique(scores, axis=0, return_inverse=True)
    no_worse = (points[:, None] >= points[None]).all(axis=2)
    dominates = no_worse & ~np.eye(len(points), dtype=bool)
    ranks = np.full(len(points), -1)
    rank = 0
    while (ranks < 0).any():
        left = ranks < 0
        ranks[left & ~dominates[left].any(axis=0)] = rank
        rank += 1
    return ranks[place.reshape(-1)]


def crowding_distances(scores: np.ndarray) -> np.ndarray:
    """The distance between a point's neighbours in the front, summed over objectives (NSGA-II); infinite at the ends.

    Returns:
        float `[num_points]`; 0 for a point with a score that is nan or infinite.
    """
    scores = np.asarray(scores, dtype=float)
    finite = np.isfinite(scores).all(axis=1)
    distances = np.zeros(len(scores))
    if finite.any():
        distances[finite] = _distances(scores[finite])
    return distances


def _distances(scores: np.ndarray) -> np.ndarray:
    distances = np.zeros(len(scores))
    for column in scores.T:
        order = np.argsort(column, kind="stable")
        spread = column[order[-1]] - column[order[0]]
        distances[order[[0, -1]]] = np.inf
        if spread > 0:
            distances[order[1:-1]] += (column[order[2:]] - column[order[:-2]]) / spread
    return distances


def hypervolume(scores: np.ndarray, reference: np.ndarray) -> float:
    """The volume that is dominated by the points and dominates `reference`, for any number of objectives.

    The points are cut into slices along the last objective, and each slice is measured in one objective less.

    Args:
        scores: `[num_points, num_objectives]`.
        reference: `[num_objectives]`; points that do not better it in every objective count for nothing.

    Raises:
        ValueError: the shapes do not fit, or the reference is not finite.
    """
    scores, reference = np.asarray(scores, dtype=float), np.asarray(reference, dtype=float)
    if scores.ndim != 2 or reference.shape != scores.shape[1:]:
        raise ValueError(f"scores of shape {scores.shape} need a reference of shape {scores.shape[1:]}")
    if not np.isfinite(reference).all():
        raise ValueError(f"the reference is of finite numbers; got {reference.tolist()}")
    better = (scores > reference).all(axis=1) & np.isfinite(scores).all(axis=1)
    return _volume(scores[better] - reference)


def _volume(points: np.ndarray) -> float:
    if len(points) == 0:
        return 0.0
    if points.shape[1] == 1:
        return float(points.max())
    points = points[np.argsort(-points[:, -1], kind="stable")]
    heights = points[:, -1] - np.append(points[1:, -1], 0.0)
    return float(sum(height * _volume(points[: last + 1, :-1]) for last, height in enumerate(heights) if height > 0))
