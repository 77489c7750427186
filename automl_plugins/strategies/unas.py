"""UNAS: an unbiased gradient through conditional samples, of a loss that knows the generalisation gap."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, NamedTuple, Unpack

import torch
from torch import Tensor
from torch.nn import functional

from automl_plugins.strategies.base import Components, Strategy
from automl_plugins.strategies.schedules import checked_temperature
from automl_plugins.strategies.step import Held, SearchStep
from automl_plugins.supernets.gates import Gates
from automl_plugins.supernets.relaxations import Concrete, Relaxation
from automl_plugins.supernets.searchable import Searchable


class UNAS(Strategy):
    r"""Logits learn by an unbiased gradient of the mean loss of sampled architectures (Vahdat et al. 2020).

    See arXiv 1912.07651, section 3.1. With z drawn from :math:`q = \mathrm{softmax}(\alpha)`, :math:`\zeta` its
    concrete sample, and :math:`\zeta|z` the same one as a function of noise that is conditioned on z (REBAR, Tucker et
    al. 2017), the gradient is the mean of

    .. math::
        (L(z) - L(\zeta)) \nabla \log q(z) + \nabla L(\zeta) - \nabla L(\zeta|z)

    where :math:`L = L_\text{train} + \lambda |L_\text{search} - L_\text{train}|`, both of the same sample. The weights
    of a step learn with its :math:`\zeta`. Departures: one sample for a batch, where the authors' code draws one for
    each image; no latency, which belongs into `_criterion`, with a surrogate of it for soft gates.

    Args:
        gap: the weight :math:`\lambda` of the generalisation gap.
        temperature: of the concrete samples.
        components: see `Strategy`.

    Raises:
        ValueError: the weight is negative, or the temperature is not greater than zero.
    """

    refuses: ClassVar[Mapping[str, str]] = {"relaxation": "its gradient is one of concrete samples"}

    def __init__(self, gap: float = 0.5, temperature: float = 0.4, **components: Unpack[Components]) -> None:
        super().__init__(**components)
        if not gap >= 0:
            raise ValueError(f"gap is the weight of the generalisation gap, at least 0; got {gap}")
        self.gap, self.temperature = float(gap), checked_temperature("temperature", temperature)

    def relaxation(self) -> Relaxation:
        return Concrete(self.temperature)

    def architecture_loss(self, step: SearchStep) -> Tensor:
        samples = {name: self._sample(searchable, step) for name, searchable in step.searchables.items()}
        with torch.no_grad():
            hard = self._criterion(step, {name: sample.hard for name, sample in samples.items()})
        soft = self._criterion(step, {name: sample.soft for name, sample in samples.items()})
        log_probability = torch.stack([sample.log_probability for sample in samples.values()]).sum()
        return (hard - soft.detach()) * log_probability + soft

    def weight_gates(self, searchable: Searchable, step: SearchStep) -> Gates:
        return Gates(searchable.choices, self._sample(searchable, step).soft.matrix.detach())

    def _criterion(self, step: SearchStep, held: Held) -> Tensor:
        training = step.loss_of(held, step.training_batch)
        return training + self.gap * (step.loss_of(held, step.search_batch) - training).abs()

    def _sample(self, searchable: Searchable, step: SearchStep) -> Sample:
        if searchable not in step.shared:
            step.shared[searchable] = draw(searchable, self.temperature, step.generator)
        sample: Sample = step.shared[searchable]
        return sample


class Sample(NamedTuple):
    """A draw of all choices: one-hot gates and their log-probability; soft ones with the gradient of zeta - zeta|z."""

    hard: Gates
    log_probability: Tensor
    soft: Gates


def draw(searchable: Searchable, temperature: float, generator: torch.Generator) -> Sample:
    """Draw a sample after a searchable's logits, from a generator on the CPU."""
    logits, mask = searchable.logits, searchable.mask
    tiny, floor = torch.finfo(logits.dtype).tiny, torch.finfo(logits.dtype).min / 2
    log_q = logits.masked_fill(~mask, floor).log_softmax(dim=1)
    q = log_q.exp()
    log_u = torch.rand(logits.shape, generator=generator, dtype=logits.dtype).clamp(min=tiny).log().to(logits.device)
    perturbed = log_q - (-log_u).log()
    hard = torch.where(mask, functional.one_hot(perturbed.argmax(dim=1), q.size(1)), 0).to(logits.dtype)
    # The largest perturbed logit is that of noise v whatever q is; below it, the others are those of noise log u'.
    log_v = torch.where(hard > 0, log_u / q, 0.0).sum(dim=1, keepdim=True).detach()
    log_rest = (log_u - q * log_v).detach().clamp(max=-tiny)
    conditional = torch.where(hard > 0, -(-log_v).log(), log_q - (-log_rest - q * log_v).log())
    zeta, given = ((each / temperature).masked_fill(~mask, floor).softmax(dim=1) for each in (perturbed, conditional))
    soft = torch.where(mask, zeta - given + given.detach(), 0.0)
    return Sample(Gates(searchable.choices, hard), (hard * log_q).sum(), Gates(searchable.choices, soft))
