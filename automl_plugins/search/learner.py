"""The optimizer of architecture logits."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from automl_plugins.search import ranks
from automl_plugins.search.isolation import frozen
from automl_plugins.strategies import Strategy
from automl_plugins.supernets.searchable import Searchable

_ASKS_WEIGHTS = ("not require grad", "doesn't require grad")
"""Messages of torch when a gradient is asked for of something that has none, and when it is to be hooked."""


_DRAWS = 16
"""After how many draws a loss that depends on no logits is taken to be a mistake."""


class SkippedStep(Exception):
    """The user's step gave no loss for this batch."""


class LogitsLearner:
    """Moves logits by the gradient of a loss, and nothing else.

    While the loss is computed and its gradient is taken, the weights ask for none: what they would need is neither
    computed nor kept in memory. If a step takes gradients of weights itself (a penalty on them, say), which torch
    refuses then, the weights ask for gradients from then on.

    Args:
        module: which holds the logits; all of its other parameters are weights.
        searchables: whose logits, by name.
        strategy: gives the optimizer.
        settings: the arguments of `Strategy.optimizer`.
        scaler: scales losses under 16-bit mixed precision; None: nothing is scaled.
        world_size: over how many ranks gradients are averaged.
    """

    def __init__(
        self,
        module: nn.Module,
        searchables: Mapping[str, Searchable],
        strategy: Strategy,
        settings: Mapping[str, Any],
        scaler: torch.amp.GradScaler | None,
        world_size: int,
    ) -> None:
        self.module = module
        self.names = list(searchables)
        self.logits = [searchable.logits for searchable in searchables.values()]
        self.optimizer = strategy.optimizer(self.logits, **settings)
        self.scaler = scaler
        self.world_size = world_size
        self._warned = self._learned = False
        self._stuck: bool | None = None
        # A single path may be drawn that has no choice left: of identities alone, say.
        self._chances = _DRAWS if any(each.relaxation.stochastic for each in searchables.values()) else 1
        self._freezes = True

    def step(self, compute_loss: Callable[[], Tensor]) -> None:
        """Move the logits against the gradient of a loss; weights and their gradients are not touched.

        Raises:
            RuntimeError: the loss does not depend on any logits.
        """
        gradients = ranks.averaged(self.gradients(compute_loss), self.logits, self.world_size)
        if all(gradient is None for gradient in gradients):
            self._chances -= 1
            if not self._learned and self._chances <= 0:
                raise RuntimeError(
                    f"the loss does not depend on the logits of {', '.join(map(repr, self.names))}: the step does "
                    "not call the searchable, or detaches what it gives"
                )
            return
        self._learned = True
        try:
            for logits, gradient in zip(self.logits, gradients, strict=True):
                logits.grad = gradient
            if self.scaler is not None:
                self.scaler.step(self.optimizer)
                self.scaler.update()
            elif self._finite(gradients):
                self.optimizer.step()
                self._stuck = False
            elif self._stuck is None:
                self._stuck = True
        finally:
            # Another optimizer may hold the logits too.
            for logits in self.logits:
                logits.grad = None

    def gradients(self, compute_loss: Callable[[], Tensor]) -> Sequence[Tensor | None]:
        """The gradient of a loss with respect to each of the logits, on this rank; None: it does not depend on it."""
        gradients: Sequence[Tensor | None] = [None] * len(self.logits)
        for logits in self.logits:
            logits.requires_grad_(True)
        try:
            gradients = self._without_weights(compute_loss) if self._freezes else self._of_loss(compute_loss)
        except SkippedStep:
            self._learned = True
        finally:
            for logits in self.logits:
                logits.requires_grad_(False)
        return gradients

    def _without_weights(self, compute_loss: Callable[[], Tensor]) -> Sequence[Tensor | None]:
        own = {id(logits) for logits in self.logits}
        try:
            with frozen(weight for weight in self.module.parameters() if id(weight) not in own):
                return self._of_loss(compute_loss)
        except RuntimeError as error:
            if not any(said in str(error) for said in _ASKS_WEIGHTS):
                raise
        self._freezes = False
        return self._of_loss(compute_loss)

    def _of_loss(self, compute_loss: Callable[[], Tensor]) -> Sequence[Tensor | None]:
        loss = compute_loss()
        if self.scaler is not None:
            loss = self.scaler.scale(loss)
        if not loss.requires_grad:
            return [None] * len(self.logits)
        # Not backward: weights get no gradient, so accumulated ones stay, and DDP's hooks are silent.
        return torch.autograd.grad(loss, self.logits, allow_unused=True)

    @property
    def divergence(self) -> str | None:
        """The reason where no step of the logits could be taken so far; None: at least one could, or none was tried."""
        if not self._stuck:
            return None
        return "no gradient of the architecture logits has been finite: look at the data that they learn on"

    def _finite(self, gradients: Sequence[Tensor | None]) -> bool:
        """True where the step may be taken: one with nan would lose the search for good."""
        present = [gradient.flatten() for gradient in gradients if gradient is not None]
        finite = bool(torch.cat(present).isfinite().all())
        if not finite and not self._warned:
            self._warned = True
            warnings.warn("a gradient of the architecture logits is not finite; such steps are skipped", stacklevel=2)
        return finite

    def set_rate(self, rate: float) -> None:
        """Set the learning rate of the logits."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate

    def state_dict(self) -> dict[str, Any]:
        return {
            "names": self.names,
            "optimizer": copy.deepcopy(self.optimizer.state_dict()),
            "scaler": None if self.scaler is None else self.scaler.state_dict(),
            "freezes": self._freezes,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue where the state was taken.

        Raises:
            ValueError: it was taken with other searchables.
        """
        if state["names"] != self.names:
            raise ValueError(
                f"the checkpoint was searching {', '.join(state['names'])}; the module has {', '.join(self.names)}"
            )
        self._freezes = state.get("freezes", True)
        self.optimizer.load_state_dict(copy.deepcopy(state["optimizer"]))
        if self.scaler is not None and state["scaler"] is not None:
            self.scaler.load_state_dict(state["scaler"])
