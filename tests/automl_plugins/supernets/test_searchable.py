"""What a user puts where their network was: an ordinary module, with a search inside."""

from __future__ import annotations

import copy
import io
import math
import pickle

import numpy as np
import pytest
import torch
from perceptron_space.space import PerceptronSpace
from torch import Tensor, nn
from torch.optim import swa_utils

from automl_plugins import Architecture, Task
from automl_plugins.supernets.relaxations import Concrete, Softmax, make_relaxation
from automl_plugins.supernets.searchable import Searchable
from automl_plugins.testing import enumerate_space

TASK = Task("pixel", "regression", 3, 1)
SPACE = PerceptronSpace()
DEEP = SPACE.architecture({"depth": 2, "layer0.width": 8, "layer1.width": 4, "activation": "tanh"})


def make(relaxation: str = "softmax", seed: int = 0) -> Searchable:
    torch.manual_seed(seed)
    return SPACE.searchable(TASK, relaxation, seed)


def images(count: int = 4, seed: int = 0) -> Tensor:
    return torch.randn(count, 3, 2, 2, generator=torch.Generator().manual_seed(seed))


def output(network: nn.Module) -> Tensor:
    with torch.no_grad():
        return network(images())


# An ordinary module.


def test_its_parameters_are_the_weights_and_the_logits() -> None:
    searchable = make()
    assert [tuple(each.shape) for each in searchable.architecture_parameters()] == [(4, 4)]
    apart = {id(each) for each in searchable.architecture_parameters() + searchable.weight_parameters()}
    assert apart == {id(each) for each in searchable.parameters()}
    assert len(apart) == len(searchable.weight_parameters()) + 1


def test_the_first_logits_are_small_and_settled_by_the_seed_alone() -> None:
    state = torch.get_rng_state()
    one, other, third = make(seed=1), SPACE.searchable(TASK, seed=1), make(seed=2)
    assert torch.equal(one.logits, other.logits)
    assert not torch.equal(one.logits, third.logits)
    assert 0 < one.logits.detach().abs().max() < 1e-2
    assert not one.logits[~one.mask].any()
    torch.set_rng_state(state)


def test_it_takes_any_batch_size() -> None:
    searchable = make()
    for count in (1, 3, 7):
        assert searchable(images(count)).shape == (count, 1, 2, 2)


@pytest.mark.parametrize("again", [copy.deepcopy, lambda module: pickle.loads(pickle.dumps(module))])
def test_copies_compute_the_same_and_share_nothing(again: object) -> None:
    searchable = make("concrete").train()
    searchable.close("activation", "relu")
    output(searchable)
    copied = again(searchable)
    assert torch.equal(output(copied), output(searchable))
    with torch.no_grad():
        copied.logits += 1.0
        copied.supernet.output.bias += 1.0
    copied.close("depth", 1)
    assert torch.equal(searchable.mask[0], torch.tensor([True, True, False, False]))
    assert not torch.equal(output(copied), output(searchable))


def test_a_state_dict_keeps_logits_closed_options_and_the_position_in_the_noise() -> None:
    searchable, other = make("concrete", seed=3).train(), make("concrete", seed=3).train()
    searchable.close("activation", "relu")
    for _ in range(5):
        output(searchable)
    file = io.BytesIO()
    torch.save(searchable.state_dict(), file)
    file.seek(0)
    other.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(other.mask, searchable.mask)
    for _ in range(3):
        assert torch.equal(output(other), output(searchable))


def test_a_checkpoint_of_other_choices_is_refused_and_changes_nothing() -> None:
    searchable = nn.ModuleDict({"network": PerceptronSpace(widest=8).searchable(TASK)})
    before = copy.deepcopy(searchable.state_dict())
    saved = nn.ModuleDict({"network": make()})
    with pytest.raises(ValueError, match="other choices than this one of the space 'perceptron'"):
        searchable.load_state_dict(saved.state_dict())
    assert torch.equal(before["network.logits"], searchable["network"].logits)


def test_choices_with_other_options_of_the_same_number_are_refused_too() -> None:
    class Renamed(PerceptronSpace):
        @property
        def gate_choices(self):
            *others, activation = self.choices
            return (*others, type(activation)("activation", ("tanh", "relu")))

    with pytest.raises(ValueError, match="other choices"):
        Renamed().searchable(TASK).load_state_dict(make().state_dict())


@pytest.mark.parametrize(
    "averaging",
    [
        {"multi_avg_fn": swa_utils.get_ema_multi_avg_fn(0.999)},
        {"avg_fn": swa_utils.get_ema_avg_fn(0.999)},
        {"multi_avg_fn": swa_utils.get_swa_multi_avg_fn()},
        {},
    ],
    ids=["ema", "ema-one-by-one", "swa", "torch's default"],
)
@pytest.mark.parametrize("use_buffers", [False, True])
def test_averages_of_weights_keep_what_is_closed_and_can_be_loaded(
    averaging: dict[str, object], use_buffers: bool
) -> None:
    searchable = make("concrete").train()
    averaged = swa_utils.AveragedModel(searchable, use_buffers=use_buffers, **averaging)
    averaged.update_parameters(searchable)
    searchable.close("activation", "relu")
    for _ in range(50):
        with torch.no_grad():
            searchable.logits += 0.1
        output(searchable)
        averaged.update_parameters(searchable)
    assert torch.equal(averaged.module.mask, searchable.mask)
    assert averaged.module.gates()["activation"].tolist() == [0.0, 1.0]
    assert 0 < averaged.module.logits[0, 0] < searchable.logits[0, 0]
    make("concrete").load_state_dict(averaged.module.state_dict())


def test_half_precision_keeps_what_is_closed_and_draws_anew() -> None:
    searchable = make("concrete").train()
    searchable.draws += 1000
    searchable.close("activation", "relu")
    searchable.to(torch.bfloat16)
    drawn = []
    for _ in range(3):
        searchable.draw()
        drawn.append(searchable.gates().matrix.tolist())
    assert drawn[0] != drawn[1] != drawn[2]
    assert searchable.mask[3].tolist() == [False, True, False, False]
    make("concrete").load_state_dict(searchable.state_dict())


def test_weights_in_half_precision_leave_the_logits_in_single() -> None:
    searchable = make().to(torch.bfloat16)
    assert searchable.logits.dtype == torch.float32
    outputs = searchable(images().bfloat16())
    assert outputs.dtype == torch.bfloat16
    with searchable.hold(DEEP):
        assert searchable(images().bfloat16()).dtype == torch.bfloat16
    (gradient,) = torch.autograd.grad(outputs.float().sum(), searchable.logits)
    assert gradient.dtype == torch.float32


def test_it_is_made_on_the_default_device() -> None:
    with torch.device("meta"):
        searchable = SPACE.searchable(TASK, "concrete")
    assert {each.device.type for each in [*searchable.parameters(), *searchable.buffers()]} == {"meta"}


def test_gradients_may_be_forbidden_and_the_mode_changes_the_noise_alone() -> None:
    searchable = make("concrete")
    assert not output(searchable).requires_grad
    assert torch.equal(output(searchable.eval()), output(searchable))
    assert not torch.equal(output(searchable.train()), output(searchable))


# Noise.


def test_each_forward_pass_in_training_draws_anew_unless_a_search_draws_itself() -> None:
    searchable = make("straight-through").train()
    state = torch.get_rng_state()
    drawn = set()
    for _ in range(20):
        output(searchable)
        drawn.add(tuple(searchable.gates().matrix.flatten().tolist()))
    assert len(drawn) > 5
    searchable.draws_by_itself = False
    assert torch.equal(output(searchable), output(searchable))
    before = output(searchable)
    for _ in range(5):
        searchable.draw()
    assert not torch.equal(output(searchable), before)
    assert torch.equal(state, torch.get_rng_state())


def test_over_many_draws_each_option_comes_as_often_as_it_is_probable() -> None:
    searchable = make("straight-through", seed=1).train()
    with torch.no_grad():
        searchable.logits[1] = torch.tensor([1.0, 0.0, -1.0, 0.5])
    total, draws = torch.zeros(4), 3000
    for _ in range(draws):
        searchable.draw()
        total += searchable.gates()["layer0.width"].detach()
    expected = searchable.probabilities()["layer0.width"]
    assert float((total / draws - expected).abs().max()) < 5 * 0.5 / math.sqrt(draws)


# A search.


@pytest.mark.parametrize("relaxation", ["softmax", "concrete", "straight-through", "sigmoid"])
def test_a_plain_loop_with_two_optimizers_lowers_the_loss(relaxation: str) -> None:
    searchable = make(relaxation).train()
    weights = torch.optim.Adam(searchable.weight_parameters(), lr=1e-2)
    logits = torch.optim.Adam(searchable.architecture_parameters(), lr=1e-2)
    image = images(16)
    target = image.sum(dim=1, keepdim=True).sin()
    losses, first = [], searchable.logits.detach().clone()
    for _ in range(150):
        for optimizer in (logits, weights):
            loss = nn.functional.mse_loss(searchable(image), target)
            searchable.zero_grad()
            loss.backward()
            optimizer.step()
        losses.append(float(loss.detach()))
    assert np.mean(losses[-20:]) < 0.6 * np.mean(losses[:5])
    assert (searchable.logits != first)[searchable.mask].all()
    network = searchable.derive()
    assert network(image).shape == target.shape


def test_logits_learn_which_option_is_better() -> None:
    searchable = make().train()
    optimizer = torch.optim.Adam(searchable.architecture_parameters(), lr=0.1)
    for _ in range(50):
        optimizer.zero_grad()
        # As if wide layers and tanh cost something.
        (searchable.gates()["layer0.width"][3] + searchable.gates()["activation"][1]).backward()
        optimizer.step()
    found = searchable.architecture()
    assert found["layer0.width"] != 16
    assert found["activation"] == "relu"


def test_a_closed_option_is_never_run_nor_found_again() -> None:
    searchable = make().train()
    searchable.set_logits(DEEP)
    searchable.close("depth", 2)
    assert searchable.gates()["depth"].tolist() == [1.0, 0.0]
    assert searchable.architecture()["depth"] == 1
    with torch.no_grad():
        searchable.supernet.hidden[1].weight.fill_(math.nan)
    assert output(searchable).isfinite().all()
    searchable(images()).sum().backward()
    assert searchable.logits.grad[0].tolist() == [0.0, 0.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("name", "option", "message"),
    [
        ("dept", 1, "no choice 'dept'"),
        ("depth", 3, "'depth' has no option 3; options: 1, 2"),
        ("activation", "tanh", "'tanh' is the last open option of 'activation'"),
    ],
)
def test_what_cannot_be_closed_is_named(name: str, option: object, message: str) -> None:
    searchable = make()
    searchable.close("activation", "relu")
    with pytest.raises(ValueError, match=message):
        searchable.close(name, option)


def test_held_gates_are_used_inside_the_block_alone() -> None:
    searchable = make("concrete").train()
    network = SPACE.inherited(searchable.supernet, DEEP, TASK)
    with searchable.hold(DEEP):
        torch.testing.assert_close(output(searchable), output(network))
        other = SPACE.architecture({**DEEP, "activation": "relu"})
        with searchable.hold(SPACE.gates(other)):
            assert searchable.gates()["activation"].tolist() == [1.0, 0.0]
        assert searchable.gates()["activation"].tolist() == [0.0, 1.0]
    assert 0 < searchable.gates()["activation"][0] < 1


def test_gates_that_were_put_stay_until_told_otherwise() -> None:
    searchable = make().eval()
    free = output(searchable)
    searchable.use_gates(DEEP)
    held = output(searchable)
    assert not torch.equal(held, free)
    assert torch.equal(output(searchable), held)
    searchable.use_gates(None)
    assert torch.equal(output(searchable), free)


def test_gradients_reach_gates_that_were_put() -> None:
    searchable = make()
    weights = {name: gate.detach().clone().requires_grad_() for name, gate in searchable.gates().items()}
    searchable.use_gates(weights)
    searchable(images()).square().sum().backward()
    assert all(gate.grad.abs().max() > 0 for gate in weights.values())
    assert searchable.logits.grad is None


def test_gates_of_another_space_are_refused() -> None:
    searchable = make()
    with pytest.raises(ValueError, match="'depth' is missing or unknown"):
        searchable.use_gates({"activation": torch.ones(2)})
    with pytest.raises(ValueError, match="not of 'perceptron'"), searchable.hold(Architecture("other", 1, {})):
        pass


def test_every_architecture_can_be_preferred() -> None:
    searchable = make()
    for architecture in enumerate_space(SPACE):
        searchable.set_logits(architecture)
        assert searchable.architecture() == architecture
        probabilities = searchable.probabilities()
        assert all(probabilities[name].max() > 0.99 for name in architecture)


# What a search may ask.


def test_entropy_is_one_where_nothing_is_decided_and_zero_where_all_is() -> None:
    searchable = make()
    with torch.no_grad():
        searchable.logits.zero_()
    assert float(searchable.entropy()) == pytest.approx(1.0)
    searchable.close("layer0.width", 2)
    assert float(searchable.entropy()) == pytest.approx(1.0)
    searchable.set_logits(DEEP, strength=100.0)
    assert float(searchable.entropy()) == pytest.approx(0.0, abs=1e-6)
    searchable = make()
    for choice in searchable.choices:
        for option in choice.options[1:]:
            searchable.close(choice.name, option)
    assert float(searchable.entropy()) == 0.0


def test_the_share_of_parameter_free_options_counts_choices_that_offer_both() -> None:
    class Space(PerceptronSpace):
        parameter_free = frozenset(("relu", 16))

    searchable = Space().searchable(TASK)
    searchable.set_logits(DEEP)
    assert searchable.parameter_free_share() == 0.0
    searchable.set_logits(SPACE.architecture({**DEEP, "activation": "relu"}))
    # Of the two widths and the activation, which offer both; depth does not.
    assert searchable.parameter_free_share() == pytest.approx(1 / 3)
    assert make().parameter_free_share() == 0.0


# What is found.


def test_a_derived_network_with_kept_weights_computes_the_same_and_shares_none() -> None:
    searchable = make().eval()
    searchable.set_logits(DEEP)
    network = searchable.derive(keep_weights=True)
    with searchable.hold(DEEP):
        torch.testing.assert_close(output(network), output(searchable))
    assert type(network) is nn.Sequential
    assert not network.training
    assert not {each.data_ptr() for each in network.parameters()} & {
        each.data_ptr() for each in searchable.parameters()
    }


def test_a_derived_network_is_fresh_unless_told_otherwise() -> None:
    searchable = make()
    searchable.set_logits(DEEP)
    torch.manual_seed(5)
    network = searchable.derive()
    torch.manual_seed(5)
    like = SPACE.network(DEEP, TASK)
    assert torch.equal(output(network), output(like))


def test_deriving_leaves_the_searchable_as_it_was() -> None:
    searchable = make("concrete").train()
    before = copy.deepcopy(searchable.state_dict())
    searchable.derive()
    searchable.derive(keep_weights=True)
    assert all(torch.equal(each, before[name]) for name, each in searchable.state_dict().items())
    assert searchable.training


def test_a_relaxation_is_given_by_name_or_as_it_is() -> None:
    own = Concrete(temperature=3.0)
    assert make_relaxation(own) is own
    assert type(make_relaxation("softmax")) is Softmax
    with pytest.raises(ValueError, match="'softmax'"):
        make_relaxation("softmx")
