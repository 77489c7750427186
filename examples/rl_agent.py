"""Reinforcement learning with a search inside the agent's encoder (RL-DARTS, Miao et al. 2022).

`PPOAgent` and `train` know nothing of a search. With a searchable as the encoder, its logits are among the
agent's parameters, so the agent's own loss moves them; with the derived network as the encoder, the very
same code retrains what was found. Softmax gates draw nothing: the policy that acts and the one
that learns are the same function, as the ratio in PPO's loss demands.

    OMP_NUM_THREADS=1 python examples/rl_agent.py
"""

from __future__ import annotations

import argparse
import time

import gymnasium
import numpy as np
import torch
from gymnasium.vector import AutoresetMode, VectorEnv
from own_space import VectorCellSpace
from torch import Tensor, nn
from torch.distributions import Categorical

from automl_plugins import Task

ENVIRONMENTS, STEPS, EPOCHS, MINIBATCH = 8, 128, 4, 256
DISCOUNT, TRACE, CLIP, ENTROPY, LEARNING_RATE = 0.99, 0.95, 0.2, 0.01, 3e-3
# Returns of hundreds would let the critic's error drown the policy's gradient in the encoder that they share.
REWARD_SCALE = 0.1


class PPOAgent(nn.Module):
    """An actor and a critic on one encoder, which maps observations to `features` channels."""

    def __init__(self, encoder: nn.Module, features: int, actions: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.actor = nn.Linear(features, actions)
        self.critic = nn.Linear(features, 1)

    def forward(self, observations: Tensor) -> tuple[Categorical, Tensor]:
        """The policy and the value `[batch]` of each observation."""
        features = self.encoder(observations).tanh()
        return Categorical(logits=self.actor(features)), self.critic(features).squeeze(1)


def make_environments(count: int) -> VectorEnv:
    """Poles to balance; gymnasium's default, `NEXT_STEP`, puts a step that is none between two episodes."""
    return gymnasium.make_vec("CartPole-v1", count, "sync", vector_kwargs={"autoreset_mode": AutoresetMode.SAME_STEP})


def collect(agent: PPOAgent, environments: VectorEnv, observations: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Act for `STEPS` steps; gives the observations to go on from, and a batch of `ENVIRONMENTS * STEPS` steps.

    The batch holds observations, actions, their log-probabilities, advantages (generalised
    advantage estimation, Schulman et al. 2016, equation 16) and returns.
    """
    steps: list[tuple[Tensor, ...]] = []
    for _ in range(STEPS):
        policy, values = agent(observations)
        actions = policy.sample()
        following, rewards, terminated, truncated, information = environments.step(actions.numpy())
        rewards *= REWARD_SCALE
        if truncated.any():  # the episode would have gone on: what it was still worth
            last = torch.from_numpy(np.stack(information["final_obs"][truncated]))
            rewards[truncated] += DISCOUNT * agent(last)[1].numpy()
        goes_on = torch.from_numpy(~(terminated | truncated)).float()
        rewards = torch.from_numpy(rewards).float()
        steps.append((observations, actions, policy.log_prob(actions), values, rewards, goes_on))
        observations = torch.from_numpy(following)
    seen, actions, log_probabilities, values, rewards, goes_on = map(torch.stack, zip(*steps, strict=True))
    next_values = torch.cat([values[1:], agent(observations)[1].unsqueeze(0)])
    errors = rewards + DISCOUNT * goes_on * next_values - values
    advantages = errors.clone()
    for step in reversed(range(STEPS - 1)):
        advantages[step] += DISCOUNT * TRACE * goes_on[step] * advantages[step + 1]
    batch = (seen, actions, log_probabilities, advantages, advantages + values)
    return observations, [each.flatten(0, 1) for each in batch]


def train(agent: PPOAgent, updates: int, seed: int) -> None:
    """Proximal policy optimization (PPO, Schulman et al. 2017, algorithm 1)."""
    optimizer = torch.optim.Adam(agent.parameters(), lr=LEARNING_RATE)
    environments = make_environments(ENVIRONMENTS)
    observations = torch.from_numpy(environments.reset(seed=seed)[0])
    for _ in range(updates):
        with torch.no_grad():
            observations, batch = collect(agent, environments, observations)
        for _ in range(EPOCHS):
            for rows in torch.randperm(ENVIRONMENTS * STEPS).split(MINIBATCH):
                optimizer.zero_grad()
                loss(agent, *(each[rows] for each in batch)).backward()
                nn.utils.clip_grad_norm_(agent.parameters(), 0.5)
                optimizer.step()
    environments.close()


def loss(
    agent: PPOAgent, seen: Tensor, actions: Tensor, log_probabilities: Tensor, advantages: Tensor, returns: Tensor
) -> Tensor:
    """The clipped loss of the policy, the value's squared error and a bonus for entropy (PPO, equation 9)."""
    policy, values = agent(seen)
    ratio = (policy.log_prob(actions) - log_probabilities).exp()
    advantages = (advantages - advantages.mean()) / (advantages.std() + 1e-8)
    gain = torch.minimum(ratio * advantages, ratio.clamp(1 - CLIP, 1 + CLIP) * advantages).mean()
    return -gain + 0.5 * (values - returns).square().mean() - ENTROPY * policy.entropy().mean()


@torch.no_grad()
def mean_return(agent: PPOAgent | None, seed: int, episodes: int = 30) -> float:
    """The mean return of the first episodes of as many environments, with actions drawn; None: at random."""
    environments = make_environments(episodes)
    observations, _ = environments.reset(seed=seed)
    environments.action_space.seed(seed)
    total, running = np.zeros(episodes), np.ones(episodes, dtype=bool)
    while running.any():
        if agent is None:
            actions = environments.action_space.sample()
        else:
            actions = agent(torch.from_numpy(observations))[0].sample().numpy()
        observations, rewards, terminated, truncated, _ = environments.step(actions)
        total += rewards * running
        running &= ~(terminated | truncated)
    environments.close()
    return float(total.mean())


def run(encoder: nn.Module, features: int, updates: int, seed: int) -> tuple[PPOAgent, float, float]:
    """Train an agent with an encoder; gives the agent, its mean return, and the seconds of training."""
    agent = PPOAgent(encoder, features, actions=2)
    start = time.process_time()
    train(agent, updates, seed)
    seconds = time.process_time() - start
    return agent, mean_return(agent, seed=1000 + seed), seconds


def main(updates: int = 30, seeds: int = 3, features: int = 32) -> list[dict[str, float]]:
    """Search, derive and retrain for each seed.

    Returns:
        For each seed: the mean returns of the agents and of chance, the entropies of the choices
        and the CPU seconds of both trainings.
    """
    task = Task("node", "regression", in_channels=4, out_channels=features)
    results = []
    for seed in range(seeds):
        torch.manual_seed(seed)
        encoder = VectorCellSpace(channels=features).searchable(task, seed=seed)
        before = float(encoder.entropy())
        _, searched, search_seconds = run(encoder, features, updates, seed)
        architecture = encoder.architecture()
        _, retrained, retrain_seconds = run(encoder.derive(), features, updates, seed)
        results.append(
            {
                "chance": mean_return(None, seed=1000 + seed),
                "searched": searched,
                "retrained": retrained,
                "entropy_before": before,
                "entropy_after": float(encoder.entropy()),
                "search_seconds": search_seconds,
                "retrain_seconds": retrain_seconds,
            }
        )
        print(f"seed {seed}: {', '.join(architecture.values())}")
        print("  " + ", ".join(f"{name} {value:.4g}" for name, value in results[-1].items()))
    mean = {name: float(np.mean([result[name] for result in results])) for name in results[0]}
    print(
        f"mean return: chance {mean['chance']:.1f}, searched {mean['searched']:.1f}, retrained {mean['retrained']:.1f}"
    )
    print(f"entropy of the choices: {mean['entropy_before']:.4f} -> {mean['entropy_after']:.4f}")
    print(f"time of the search over that of the retraining: {mean['search_seconds'] / mean['retrain_seconds']:.2f}")
    return results


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--updates", type=int, default=30)
    parser.add_argument("--seeds", type=int, default=3)
    main(**vars(parser.parse_args()))
