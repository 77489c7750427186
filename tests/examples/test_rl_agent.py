"""An agent that knows nothing of a search, with a searchable as its encoder (RL-DARTS)."""

from __future__ import annotations

import copy
import functools

import gymnasium
import pytest
import rl_agent
import torch
from own_space import VectorCell, VectorCellSpace
from rl_agent import PPOAgent
from torch import Tensor, nn

from automl_plugins import Task
from automl_plugins.supernets.searchable import Searchable

TASK = Task("node", "regression", in_channels=4, out_channels=8)


@pytest.fixture
def agent() -> PPOAgent:
    """An agent whose options differ: initial logits are near zero, so that all gates would be equal."""
    torch.manual_seed(0)
    encoder = VectorCellSpace(channels=8).searchable(TASK)
    with torch.no_grad():
        encoder.logits.normal_()
    return PPOAgent(encoder, features=8, actions=2)


@pytest.fixture
def observations() -> Tensor:
    return torch.randn(16, 4, generator=torch.Generator().manual_seed(0))


def collected(agent: PPOAgent) -> list[Tensor]:
    environments = rl_agent.make_environments(rl_agent.ENVIRONMENTS)
    observations = torch.from_numpy(environments.reset(seed=0)[0])
    with torch.no_grad():
        _, batch = rl_agent.collect(agent, environments, observations)
    environments.close()
    return batch


def test_the_agents_own_loss_reaches_every_logit(agent: PPOAgent) -> None:
    rl_agent.loss(agent, *collected(agent)).backward()
    assert agent.encoder.logits.grad.abs().min() > 0


def test_the_agents_own_optimizer_moves_the_logits(agent: PPOAgent) -> None:
    before = agent.encoder.logits.detach().clone()
    rl_agent.train(agent, updates=1, seed=0)
    assert (agent.encoder.logits != before).all()


def test_one_class_of_agents_searches_and_retrains(monkeypatch: pytest.MonkeyPatch) -> None:
    agents: list[PPOAgent] = []
    run = rl_agent.run

    def recorded(encoder: nn.Module, features: int, updates: int, seed: int) -> tuple[PPOAgent, float, float]:
        result = run(encoder, features, updates, seed)
        agents.append(result[0])
        return result

    monkeypatch.setattr(rl_agent, "run", recorded)
    (result,) = rl_agent.main(updates=1, seeds=1, features=8)
    assert [type(agent) for agent in agents] == [PPOAgent, PPOAgent]
    assert [type(agent.encoder) for agent in agents] == [Searchable, VectorCell]
    assert result["entropy_after"] < result["entropy_before"]
    others = [{name for name, _ in agent.named_parameters() if not name.startswith("encoder.")} for agent in agents]
    assert others[0] == others[1]


@pytest.mark.parametrize("training", [True, False])
def test_acting_twice_draws_from_one_distribution(agent: PPOAgent, observations: Tensor, training: bool) -> None:
    expected, expected_values = agent.train()(observations)
    agent.train(training)
    for _ in range(2):
        policy, values = agent(observations)
        assert torch.equal(policy.logits, expected.logits)
        assert torch.equal(values, expected_values)


def test_the_policy_that_acts_is_the_one_that_learns(agent: PPOAgent) -> None:
    """PPO's ratio is one before the first step."""
    seen, actions, log_probabilities, _, _ = collected(agent.eval())
    ratio = (agent.train()(seen)[0].log_prob(actions) - log_probabilities).exp()
    torch.testing.assert_close(ratio, torch.ones_like(ratio))


@pytest.mark.parametrize("draws_by_itself", [False, True])
def test_a_relaxation_that_draws_must_draw_once_a_rollout(draws_by_itself: bool) -> None:
    torch.manual_seed(0)
    encoder = VectorCellSpace(channels=8).searchable(TASK, "concrete")
    encoder.draws_by_itself = draws_by_itself
    encoder.draw()
    agent = PPOAgent(encoder, features=8, actions=2).train()
    seen, actions, log_probabilities, _, _ = collected(agent)
    ratio = (agent(seen)[0].log_prob(actions) - log_probabilities).exp()
    assert torch.allclose(ratio, torch.ones_like(ratio), atol=1e-5) is not draws_by_itself


def test_a_batch_of_one_is_a_row_of_a_larger_one(agent: PPOAgent, observations: Tensor) -> None:
    policy, values = agent(observations)
    for row in range(2):
        alone, value = agent(observations[row : row + 1])
        torch.testing.assert_close(alone.logits[0], policy.logits[row])
        torch.testing.assert_close(value[0], values[row])


def test_a_copy_of_the_agent_is_a_target_network(agent: PPOAgent, observations: Tensor) -> None:
    target = copy.deepcopy(agent)
    before = agent(observations)[0].logits
    assert torch.equal(target(observations)[0].logits, before)
    rl_agent.train(agent, updates=1, seed=0)
    after = agent(observations)[0].logits
    assert torch.equal(target(observations)[0].logits, before), "the copy is trained too"
    assert not torch.equal(after, before)
    target.load_state_dict(agent.state_dict())
    assert torch.equal(target(observations)[0].logits, after)


@pytest.fixture
def _plain_returns(monkeypatch: pytest.MonkeyPatch) -> None:
    """One environment, and nothing that discounts: a return is what the rest of an episode brings, one a step."""
    for name, value in (("DISCOUNT", 1.0), ("TRACE", 1.0), ("REWARD_SCALE", 1.0), ("ENVIRONMENTS", 1)):
        monkeypatch.setattr(rl_agent, name, value)


@pytest.mark.usefixtures("_plain_returns")
def test_a_return_ends_with_its_episode(agent: PPOAgent) -> None:
    returns = collected(agent)[-1]
    length = int(returns[0].round())
    assert 1 < length < rl_agent.STEPS
    torch.testing.assert_close(returns[:length], torch.arange(length, 0, -1.0))
    assert returns[length] > 1.5, "no second episode began"


@pytest.mark.usefixtures("_plain_returns")
def test_an_episode_that_is_cut_off_is_worth_what_its_last_state_is(
    agent: PPOAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = functools.partial(gymnasium.make_vec, max_episode_steps=5)
    monkeypatch.setattr(gymnasium, "make_vec", make)
    _, actions, _, _, returns = collected(agent)
    environment = gymnasium.make("CartPole-v1")
    environment.reset(seed=0)
    for action in actions[:5]:
        last, _, ended, _, _ = environment.step(int(action))
        assert not ended
    with torch.no_grad():
        value = agent(torch.from_numpy(last).unsqueeze(0))[1]
    assert abs(float(value)) > 1e-2
    torch.testing.assert_close(returns[:5], torch.arange(5, 0, -1.0) + value)


@pytest.mark.slow
def test_what_is_derived_balances_better_than_chance() -> None:
    (result,) = rl_agent.main(updates=12, seeds=1)
    assert result["retrained"] > 2 * result["chance"]
    assert result["searched"] > 2 * result["chance"]
