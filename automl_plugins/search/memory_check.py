"""A search that would not fit into memory is refused before its first step."""

from __future__ import annotations

from typing import Any

import torch

from automl_plugins.measures.memory import StepMemory, estimate_step, of_training, readable
from automl_plugins.search import ranks
from automl_plugins.search.learner import LogitsLearner, SkippedStep
from automl_plugins.search.user_step import UserStep
from automl_plugins.spaces.probe import Probe, probe_of
from automl_plugins.strategies import SearchStep, Strategy


def check_memory(
    limit: int, user: UserStep, batch: Any, learner: LogitsLearner, strategy: Strategy, step: SearchStep
) -> None:
    """Compare the estimate of a step's memory with a limit.

    The estimate is `automl_plugins.measures.memory.of_training` of the larger of a search's two steps. It is called
    where what a step does is not seen, and draws nothing.

    Args:
        limit: in bytes.
        user: the user's step.
        batch: the first training batch, on the device.
        learner: of the logits.
        strategy: of the search.
        step: the first one.

    Raises:
        ValueError: a step needs more, on this process or on another; the message says with what it would fit.
    """
    weights = [weight for weight in user.module.parameters() if weight.requires_grad]

    def of_weights(piece: Any) -> None:
        for searchable in step.searchables.values():
            searchable.use_gates(strategy.weight_gates(searchable, step))
        try:
            torch.autograd.grad(user.loss(piece, 0), weights, allow_unused=True)
        except SkippedStep:
            pass
        finally:
            for searchable in step.searchables.values():
                searchable.use_gates(None)

    def of_logits(piece: Any) -> None:
        learner.gradients(lambda: user.loss(piece, 0))

    # Several searchables of one step look at the same batch.
    probe = probe_of(next(iter(step.searchables.values())).task)
    steps = [estimate_step(of_weights, batch, probe)]
    if strategy.learns_logits:
        steps.append(estimate_step(of_logits, batch, probe))
    largest = max(steps, key=lambda each: each.total)
    needed = of_training(largest, user.module, [*user.trainer.optimizers, learner.optimizer])
    trainer = user.trainer
    total = ranks.largest(needed.total, trainer.strategy.root_device, trainer.world_size)
    if total > limit:
        raise ValueError(
            f"a step of the search takes about {readable(total)} and memory_limit is {readable(limit)}; "
            f"{_remedy(needed, needed.share_that_fits(limit), probe, batch, step)}"
        )


def _remedy(needed: StepMemory, share: float, probe: Probe, batch: Any, step: SearchStep) -> str:
    fitting: list[str] = []
    if share > 0:
        fitting += [*probe.smaller(batch, share), f"{share:.2f} times the channels (filters)"]
    if any(getattr(searchable.space, "checkpointing", None) is False for searchable in step.searchables.values()):
        fitting.append("perhaps checkpointing=True of the space")
    alone = f"{readable(needed.fixed)} do not depend on the batch"
    return f"{alone}; what would fit: {', or '.join(fitting)}" if fitting else f"{alone}: take fewer channels"
