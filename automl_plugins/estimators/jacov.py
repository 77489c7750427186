"""jacov: how alike a network's derivatives are at different inputs (Mellor et al. 2020, arXiv 2006.04647v1)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from automl_plugins.estimators.activations import Recorder, asking_for_gradients
from automl_plugins.estimators.base import Estimate, Estimator
from automl_plugins.estimators.context import Candidate, Context
from automl_plugins.system.arguments import at_least

_SMALL = 1e-5


class JacovEstimator(Estimator):
    r"""The score of NASWOT's first version, from the correlations of the derivatives of the outputs' sum.

    With the derivative with respect to each sample's input as a row, and the eigenvalues :math:`\lambda_i` of the rows'
    correlations, it is :math:`-\sum_i \log(\lambda_i + k) + 1 / (\lambda_i + k)` with k = 1e-5. A sample is what a
    prediction belongs to: an image, a node, a graph (the mean over its nodes), an edge. Of inputs that are categories,
    the derivatives are those with respect to their embeddings.

    Args:
        samples: the most samples of the batch, and at most one fewer than the inputs have features: more rows than
            columns correlate whatever the network is. Others are left out at random.

    Raises:
        ValueError: a number below 2.
    """

    def __init__(self, samples: int = 128) -> None:
        self.samples = at_least("samples", samples, 2)

    def estimate(self, candidate: Candidate, context: Context) -> Estimate:
        """The score.

        Raises:
            ValueError: the outputs depend on no real-valued feature of samples, or not on some sample's.
        """
        rows = _derivatives(context.network(candidate).train(), context)
        most = min(self.samples, rows.shape[1] - 1)
        if most < 2:
            raise ValueError(f"correlations of derivatives need inputs of at least 3 features; got {rows.shape[1]}")
        chosen = torch.randperm(len(rows), generator=context.generator(2))[:most]
        rows = rows[chosen.to(rows.device)].double()
        rows = rows - rows.mean(dim=1, keepdim=True)
        lengths = rows.norm(dim=1, keepdim=True)
        if len(rows) < 2 or not (lengths > 0).all():
            raise ValueError("the derivatives of a sample are all equal, so they correlate with no other's")
        eigenvalues = torch.linalg.eigvalsh((rows / lengths) @ (rows / lengths).T)
        shifted = eigenvalues.clamp(min=0) + _SMALL
        return Estimate(float(-(shifted.log() + 1 / shifted).sum()), figures={"samples": len(rows)})


def _derivatives(network: nn.Module, context: Context) -> Tensor:
    """`[num_samples, num_features]`."""
    inputs = asking_for_gradients(context.inputs)
    with Recorder(lambda features: None) as recorder:
        outputs = network(*inputs)
    sources = [each for each in inputs if isinstance(each, Tensor) and each.requires_grad]
    sources += [each for each in recorder.embedded if each.requires_grad]
    if not (sources and outputs.requires_grad):
        raise ValueError("the outputs depend on no real-valued input")
    gradients = torch.autograd.grad(outputs.sum(), sources, allow_unused=True)
    rows = [context.probe.units(each, inputs) for each in gradients if each is not None]
    found = [each for each in rows if each is not None]
    if not found:
        raise ValueError("the outputs depend on no real-valued feature of the samples")
    return torch.cat(found, dim=1)
