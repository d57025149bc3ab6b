"""Parameters that lie in one tensor are learned as if each had its own."""

import copy

import pytest
import torch
from cogment_lab.algorithms.descent import Descent, follow
from stable_baselines3.common.utils import polyak_update
from torch import nn


@pytest.fixture
def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2))


OBSERVATIONS = torch.linspace(-1.0, 1.0, 12).reshape(4, 3)


def loss(network):
    return network(OBSERVATIONS).square().sum()


@pytest.mark.parametrize(
    ("optimizer_class", "options"),
    [
        (torch.optim.Adam, {}),
        (torch.optim.Adam, {"fused": True}),
        (torch.optim.AdamW, {}),
        (torch.optim.RMSprop, {}),
        (torch.optim.SGD, {"momentum": 0.9}),
        (torch.optim.Adafactor, {}),
    ],
)
def test_steps_are_those_of_the_optimiser(optimizer_class, options, network):
    plain = copy.deepcopy(network)
    optimizer = optimizer_class(plain.parameters(), lr=1e-2, **options)
    descent = Descent(optimizer_class(network.parameters(), lr=1e-2, **options))
    for _ in range(5):
        optimizer.zero_grad()
        loss(plain).backward()
        optimizer.step()
        descent.step(loss(network))
    for one, other in zip(network.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-6)


def test_other_networks_in_the_loss_get_no_gradient(network):
    behind = nn.Linear(2, 1)
    descent = Descent(torch.optim.Adam(network.parameters()))
    Descent(torch.optim.Adam(behind.parameters()))
    descent.step(behind(network(OBSERVATIONS)).sum())
    assert not behind.weight.grad.any() and network[0].weight.grad.any()


def test_loaded_parameters_are_learned_further(network):
    descent = Descent(torch.optim.SGD(network.parameters(), lr=0.1))
    network.load_state_dict({name: torch.ones_like(value) for name, value in network.state_dict().items()})
    descent.step(loss(network))
    assert not torch.equal(network[2].bias, torch.ones(2))


def test_frozen_parameters_stay(network):
    network[0].requires_grad_(False)
    before = network[0].weight.clone()
    descent = Descent(torch.optim.AdamW(network.parameters(), weight_decay=0.1))
    descent.step(loss(network))
    assert torch.equal(network[0].weight, before)
    assert network[2].weight.grad.any()


def test_a_layer_in_two_optimisers_is_learned_by_both(network):
    heads = [nn.Linear(2, 1), nn.Linear(2, 1)]
    plain, plain_heads = copy.deepcopy(network), copy.deepcopy(heads)

    def optimizers(shared, ends):
        return [torch.optim.Adam([*shared.parameters(), *end.parameters()], lr=1e-2) for end in ends]

    descents = [Descent(each) for each in optimizers(network, heads)]
    ordinary = optimizers(plain, plain_heads)
    for _ in range(3):
        for head, descent in zip(heads, descents, strict=True):
            descent.step(head(network(OBSERVATIONS)).square().sum())
        for head, optimizer in zip(plain_heads, ordinary, strict=True):
            optimizer.zero_grad()
            head(plain(OBSERVATIONS)).square().sum().backward()
            optimizer.step()
    for one, other in zip(network.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-6)


def test_what_was_copied_or_converted_is_learned_further(network):
    descent = Descent(torch.optim.Adam(network.parameters(), lr=1e-2))
    descent.step(loss(network))
    copied, its_descent = copy.deepcopy((network, descent))
    network.double().float()
    for model, steps in ((network, descent), (copied, its_descent)):
        before = loss(model).item()
        steps.step(loss(model))
        assert loss(model).item() < before
    for one, other in zip(network.parameters(), copied.parameters(), strict=True):
        torch.testing.assert_close(one, other)


def test_a_target_follows_as_in_sb3(network):
    targets = [copy.deepcopy(network), copy.deepcopy(network)]
    for target in targets:
        for parameter in target.parameters():
            parameter.data.zero_()
    follow(targets[0], network, 0.1)
    polyak_update(network.parameters(), targets[1].parameters(), 0.1)
    for one, other in zip(targets[0].parameters(), targets[1].parameters(), strict=True):
        torch.testing.assert_close(one, other)
