"""RADARS: reinforcement prunes a space until mixtures fit into memory, then a differentiable search goes on in it."""

from __future__ import annotations

from automl_plugins.decoders.base import Found
from automl_plugins.procedures.exploration import Exploration
from automl_plugins.procedures.fits import Fits
from automl_plugins.search.options import make_strategy
from automl_plugins.strategies import Strategy
from automl_plugins.system.arguments import at_least
from automl_plugins.training.project import Project


def radars(
    project: Project,
    memory_limit: int | None = None,
    strategy: str = "darts",
    exploration_epochs: int | None = None,
    epochs: int | None = None,
) -> list[Found]:
    """RADARS (Yan, Jiang, Hu and Shi 2021, arXiv 2109.05691): a search by gradients within a bound of memory.

    In the first fit single paths are trained, and options of low reward are closed, those first that take most memory,
    until a step of mixtures of those that are left is within `memory_limit`: see `Exploration`. In the second one any
    strategy of mixtures searches in what is left, from the weights of the first and from new logits; its first step
    is estimated once more, and refused beyond the limit.

    The memory is that of `ArchitectureSearch(memory_limit=...)`: weights, optimizers and a step, measured as bytes of
    tensors on small pieces of a batch, for the largest batch that was seen, with what allocators take beside.

    Departures: the paper's text was not at hand; both phases follow its abstract, and phases do not alternate.

    Args:
        project: what is searched, and on what.
        memory_limit: bytes that the search may take.
        strategy: of the second fit; a registered name.
        exploration_epochs: of the first fit; half of those of the second where left out.
        epochs: of the second; as many as the project's Trainer gives where left out.

    Returns:
        One architecture, with the number of options that were open in its search.

    Raises:
        TypeError: the space has no supernet.
        ValueError: no limit, no such strategy, or one that runs single paths; or nothing fits.
        StudyError: the project's folder holds results of other settings, or of other data.
    """
    if memory_limit is None:
        raise ValueError("memory_limit is missing: the bytes that the search may take, such as 8_000_000_000")
    at_least("memory_limit", memory_limit, 1)
    second = mixing(make_strategy(strategy), strategy)
    epochs = project.options(epochs).get("max_epochs")
    if exploration_epochs is None:
        exploration_epochs = 1 if epochs is None else max(1, epochs // 2)
    at_least("exploration_epochs", exploration_epochs, 1)
    settings = {"memory_limit": memory_limit, "strategy": strategy, "epochs": epochs, "exploration": exploration_epochs}
    fits = Fits(project, "radars", settings)
    parent, child = fits.searchable(second.partial_channels), fits.searchable(second.partial_channels)
    first = Exploration(memory_limit, exploration_epochs, second)
    explored = fits.run("exploration", parent, first, exploration_epochs, memory_limit=memory_limit)
    child.supernet.load_state_dict(parent.supernet.state_dict())
    child.closed.copy_(parent.closed)
    found = fits.run("search", child, strategy, epochs, after=explored, memory_limit=memory_limit)
    return [Found(found.architecture, {"open_options": float(child.mask.sum())})]


def mixing(strategy: Strategy, name: str) -> Strategy:
    """A strategy of mixtures, whose memory grows with the options that are open.

    Raises:
        ValueError: it runs single paths, or learns no logits.
    """
    if not strategy.learns_logits or strategy.single_path(0.0) or strategy.starting_relaxation().single_path:
        raise ValueError(
            f"strategy={name!r} runs one option of each choice, so that nothing has to be closed for it to fit; take a "
            "strategy of mixtures, such as darts, or search with it alone"
        )
    return strategy
