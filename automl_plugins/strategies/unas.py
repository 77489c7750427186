"""UNAS: an unbiased gradient through conditional samples, of a loss that knows the generalisation gap."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple, Unpack, get_args

import torch
from torch import Tensor
from torch.nn import functional

from automl_plugins.strategies.base import Components, Strategy
from automl_plugins.strategies.black_box import BlackBoxCost
from automl_plugins.strategies.schedules import checked_temperature
from automl_plugins.strategies.step import Held, SearchStep
from automl_plugins.supernets.gates import Gates
from automl_plugins.supernets.option_costs import CostFigure
from automl_plugins.supernets.relaxations import Concrete, Relaxation
from automl_plugins.supernets.searchable import Searchable
from automl_plugins.system.arguments import at_least, one_of, positive


class UNAS(Strategy):
    r"""Logits learn by an unbiased gradient of the mean loss of sampled architectures (Vahdat et al. 2020).

    See arXiv 1912.07651, section 3.1. With z drawn from :math:`q = \mathrm{softmax}(\alpha)`, :math:`\zeta` its
    concrete sample, and :math:`\zeta|z` the same one as a function of noise that is conditioned on z (REBAR, Tucker et
    al. 2017), the gradient is the mean of

    .. math::
        (L(z) - L(\zeta)) \nabla \log q(z) + \nabla L(\zeta) - \nabla L(\zeta|z)

    where :math:`L = L_\text{train} + \lambda |L_\text{search} - L_\text{train}|`, both of the same sample. The weights
    of a step learn with its :math:`\zeta`.

    With a `cost_weight`, what a sampled network costs beyond the target is added to L(z), as a share of the target, and
    to the other two terms a regression of it (section 3.3): the gradient stays unbiased whatever the regression is
    worth, and its variance falls with the regression's error. It is fitted once, before the first step. Measured
    milliseconds differ from run to run; those that were measured are in the checkpoint.

    Departures: one sample for a batch, where the authors' code draws one for each image; the regression is fitted to
    200 architectures, not to 10,000, and to the excess, not to the milliseconds; the cost's weight does not grow.

    Args:
        gap: the weight :math:`\lambda` of the generalisation gap.
        temperature: of the concrete samples.
        cost_weight: of the cost; 0: none is measured.
        cost: its figure: `params`, `macs`, `activation_mib` or `latency_ms`, on made-up inputs of the task's level.
        target: up to which a network costs nothing, in the figure's unit; None: 0, and the cost is a share of the mean
            of random architectures.
        cost_samples: random architectures that the regression is fitted to.
        components: see `Strategy`.

    Raises:
        ValueError: a weight is negative, the temperature or the target is not greater than zero, there is no such cost,
            or fewer than two architectures are sampled.
    """

    refuses: ClassVar[Mapping[str, str]] = {"relaxation": "its gradient is one of concrete samples"}

    def __init__(
        self,
        gap: float = 0.5,
        temperature: float = 0.4,
        cost_weight: float = 0.0,
        cost: CostFigure = "latency_ms",
        target: float | None = None,
        cost_samples: int = 200,
        **components: Unpack[Components],
    ) -> None:
        super().__init__(**components)
        if not gap >= 0:
            raise ValueError(f"gap is the weight of the generalisation gap, at least 0; got {gap}")
        self.gap, self.temperature = float(gap), checked_temperature("temperature", temperature)
        self.cost_weight = positive("cost_weight", cost_weight, zero=True)
        one_of("cost", cost, get_args(CostFigure))
        self.cost, self.cost_samples = cost, at_least("cost_samples", cost_samples, 2)
        self.target = None if target is None else positive("target", target)
        self._box = BlackBoxCost(cost, self.target, self.cost_samples)

    def relaxation(self) -> Relaxation:
        return Concrete(self.temperature)

    def begin(self, step: SearchStep) -> None:
        self._box.forget()
        if self.cost_weight:
            self._box.fit(step)

    def architecture_loss(self, step: SearchStep) -> Tensor:
        samples = {name: self._sample(searchable, step) for name, searchable in step.searchables.items()}
        with torch.no_grad():
            hard = self._criterion(step, {name: sample.hard for name, sample in samples.items()})
        soft = self._criterion(step, {name: sample.soft for name, sample in samples.items()})
        if self.cost_weight:
            for name, sample in samples.items():
                hard = hard + self.cost_weight * self._box.of(step, name, sample.hard)
                soft = soft + self.cost_weight * self._box.surrogate(name, sample.soft)
        log_probability = torch.stack([sample.log_probability for sample in samples.values()]).sum()
        return (hard - soft.detach()) * log_probability + soft

    def state_dict(self) -> dict[str, Any]:
        return self._box.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._box.load_state_dict(state)

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
