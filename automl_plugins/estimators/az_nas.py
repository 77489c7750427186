"""AZ-NAS: expressivity, progressivity, trainability and cost, by ranks (Lee and Ham, CVPR 2024, arXiv 2403.19232)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from automl_plugins.estimators.activations import Recorder, asking_for_gradients, live
from automl_plugins.estimators.base import Estimate, Estimator
from automl_plugins.estimators.context import Candidate, Context
from automl_plugins.estimators.rank_sum import RelativeEstimator
from automl_plugins.measures.macs import macs
from automl_plugins.spaces.probe import Inputs

_COMPONENTS = ("expressivity", "progressivity", "trainability", "macs")


class AzNasEstimator(RelativeEstimator):
    r"""The sum of log ranks by four figures of an untrained network in training mode.

    Of the features :math:`F_l` after each activation, as rows of positions (nodes, places of images, else edges):

    - expressivity: the sum of the entropies :math:`H_l` of the spectra of their covariances (equation 2);
    - progressivity: the least of :math:`H_l - H_{l-1}` (equation 3);
    - trainability: the mean of :math:`2 - \sigma - 1 / \sigma`, :math:`\sigma` the spectral norm of the mean product
      of a random gradient of signs at :math:`F_l` and what arrives of it at :math:`F_{l-1}` (equation 7);
    - multiply-accumulates.

    The paper takes residual blocks for l, which networks at large do not have; features of activations between which no
    gradient flows, on parallel branches, have no trainability. Inputs are the context's, not noise alone.
    """

    def several(self, candidates: Sequence[Candidate], context: Context | None) -> list[list[Estimate]]:
        estimates = _Components().estimate_all(candidates, context)
        # What all four cost together is told once.
        return [
            [
                Estimate(each.figures[name], cost_s=each.cost_s if name == "macs" else 0.0) if each.valid else each
                for each in estimates
            ]
            for name in _COMPONENTS
        ]


class _Components(Estimator):
    """The four figures of a candidate; the score is the first."""

    def estimate(self, candidate: Candidate, context: Context) -> Estimate:
        network = context.network(candidate).train().requires_grad_(True)
        inputs = asking_for_gradients(context.inputs)
        with Recorder(lambda features: None) as recorder:
            outputs = network(*inputs)
        features = [each.after for each in live(recorder.bent, outputs)]
        pairs = [(each, rows) for each in features if (rows := _rows(each, context, inputs)) is not None]
        if len(pairs) < 2:
            raise ValueError(f"AZ-NAS compares the features of successive activations; the network has {len(pairs)}")
        entropies = [_entropy(rows.detach().double()) for _, rows in pairs]
        generator = context.generator(4)
        norms = []
        for (before, _), (after, _) in pairwise(pairs):
            signs = (torch.randint(2, after.shape, generator=generator) * 2 - 1).to(after)
            (arrived,) = torch.autograd.grad(after, before, signs, retain_graph=True, allow_unused=True)
            if arrived is not None:
                left, right = (_rows(each.double(), context, inputs) for each in (arrived, signs))
                if left is not None and right is not None and len(left) == len(right):
                    norms.append(float(torch.linalg.matrix_norm(left.T @ right / len(left), 2)))
        trainability = [2 - norm - 1 / (norm + 1e-6) for norm in norms]
        figures = {
            "expressivity": sum(entropies),
            "progressivity": min(after - before for before, after in pairwise(entropies)),
            "trainability": sum(trainability) / len(trainability) if trainability else float("nan"),
            "macs": float(macs(context.network(candidate), context.inputs)),
        }
        return Estimate(figures["expressivity"], figures=figures)


def _rows(features: Tensor, context: Context, inputs: Inputs) -> Tensor | None:
    rows = context.probe.positions(features, inputs)
    return context.probe.units(features, inputs) if rows is None else rows


def _entropy(rows: Tensor) -> float:
    """The entropy of the shares of the eigenvalues of the columns' covariance."""
    centred = rows - rows.mean(0)
    spectrum = torch.linalg.eigvalsh(centred.T @ centred / len(rows)).clamp(min=0)
    total = spectrum.sum()
    return float(torch.special.entr(spectrum / total).sum()) if total > 0 else 0.0
