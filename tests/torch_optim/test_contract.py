"""What torch.optim's documentation says of every optimizer, for rules that take gradients; CONTRACT.md lists it."""

from __future__ import annotations

import copy
import io
import pickle
import subprocess
import sys
from itertools import chain

import pytest
import torch
from torch import nn
from torch.optim import lr_scheduler, swa_utils

import l2l_cli
from l2l_cli.core.errors import UsageError
from l2l_cli.optimizers.coordinatewise_lstm import CoordinatewiseLSTM
from l2l_cli.optimizers.per_type import PerType
from l2l_cli.optimizers.torch_rule import RuleOptimizer
from tests.torch_optim.rules import RULES, data, loss_of, made, net, same, trained

every_rule = pytest.mark.parametrize("rule", RULES)


# --- Making one -------------------------------------------------------------------------------------------------------


@every_rule
def test_it_is_an_optimizer_of_torch(rule):
    optimizer = made(rule, net().parameters())
    assert isinstance(optimizer, torch.optim.Optimizer)
    assert isinstance(optimizer, RuleOptimizer)
    assert "lr" in repr(optimizer)


@every_rule
def test_parameters_may_be_named_or_in_groups_or_a_network(rule):
    networks = [net() for _ in range(4)]
    given = [
        networks[0].parameters(),
        networks[1].named_parameters(),
        [{"params": networks[2].parameters()}],
        networks[3],
    ]
    for network, params in zip(networks, given, strict=True):
        trained(made(rule, params), network, range(3))
    assert all(same(networks[0], other) for other in networks[1:])
    assert not same(networks[0], net())


@every_rule
def test_no_parameters_or_the_same_twice_are_refused(rule):
    with pytest.raises(ValueError, match="empty parameter list"):
        made(rule, [])
    value = nn.Parameter(torch.zeros(2))
    with pytest.raises(ValueError, match="more than one parameter group"):
        made(rule, [{"params": [value]}, {"params": [value]}])


# --- Groups and their options -----------------------------------------------------------------------------------------


@every_rule
def test_a_group_has_its_own_options_and_the_defaults(rule):
    network = net()
    first, last = network[0], network[2]
    optimizer = made(rule, [{"params": first.parameters(), "lr": 0.0}, {"params": last.parameters()}])
    trained(optimizer, network, range(3))
    assert same(first, net()[0])
    assert not same(last, net()[2])
    assert optimizer.param_groups[1]["lr"] == optimizer.defaults["lr"]


def test_the_rate_is_a_factor_on_what_a_learned_rule_does():
    for rule in ("coordinatewise_lstm", "tensorwise_mixture"):
        moves = []
        for rate in (1.0, 0.25):
            network = net()
            trained(made(rule, network.parameters(), lr=rate), network, range(1))
            moves.append([after - before for after, before in zip(network.parameters(), net().parameters())])  # noqa: B905
        for whole, quarter in zip(*moves, strict=True):
            torch.testing.assert_close(quarter, 0.25 * whole, rtol=1e-4, atol=1e-7)


def test_the_rate_of_a_hand_made_rule_is_its_own():
    ours, theirs = net(), net()
    trained(made("adam", ours.parameters(), lr=0.03), ours, range(6))
    optimizer = torch.optim.Adam(theirs.parameters(), lr=0.03)
    for step in range(6):
        optimizer.zero_grad()
        loss_of(theirs, step).backward()
        optimizer.step()
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(one, other)
    assert made("adam", net()).param_groups[0]["lr"] == 0.1  # conf/learner/adam.yaml's


def test_groups_may_have_horizons_of_their_own():
    def end(horizon):
        network = net()
        groups = [{"params": network[0].parameters(), "horizon": horizon}, {"params": network[2].parameters()}]
        trained(made("tensorwise_mixture", groups), network, range(4))
        return network

    assert not same(end(5)[0], end(500)[0])


def test_a_rule_that_plans_is_told_how_long():
    with pytest.raises(UsageError, match=r"TensorwiseMixture plans for the end .* as in horizon=1000, not None"):
        made("tensorwise_mixture", net(), horizon=None)
    assert made("adam", net(), horizon=10).param_groups[0]["horizon"] == 10


@every_rule
def test_options_that_no_rule_has_are_refused(rule):
    with pytest.raises(UsageError, match=r"has no option 'weight_decay' for a group .*\(it has lr, horizon\)"):
        made(rule, [{"params": [nn.Parameter(torch.zeros(2))], "weight_decay": 0.1}])


@every_rule
def test_a_group_that_is_added_is_moved_from_then_on(rule):
    network = net()
    optimizer = made(rule, network[0].parameters())
    trained(optimizer, network, range(2))
    assert same(network[2], net()[2])
    optimizer.add_param_group({"params": network[2].parameters()})
    trained(optimizer, network, range(2, 4))
    assert not same(network[2], net()[2])
    with pytest.raises(UsageError, match="has no option"):
        optimizer.add_param_group({"params": [nn.Parameter(torch.zeros(2))], "momentum": 0.9})
    assert len(optimizer.param_groups) == 2  # what is refused leaves nothing behind


# --- Steps ------------------------------------------------------------------------------------------------------------


@every_rule
def test_a_closure_is_called_once_with_gradients_on_and_its_loss_returned(rule):
    ours, theirs, calls = net(), net(), []
    optimizer, other = (made(rule, network.parameters()) for network in (ours, theirs))
    for step in range(4):

        def closure(step=step):
            assert torch.is_grad_enabled()
            calls.append(step)
            optimizer.zero_grad()
            loss = loss_of(ours, step)
            loss.backward()
            return loss

        assert optimizer.step(closure).item() == pytest.approx(loss_before(theirs, step))
        trained(other, theirs, range(step, step + 1))
    assert calls == [0, 1, 2, 3]
    assert same(ours, theirs)


def loss_before(network, step):
    with torch.no_grad():
        return loss_of(network, step).item()


def test_a_rule_that_sees_the_loss_asks_for_it():
    network = net()
    optimizer = made("tensorwise_mixture", network.parameters())
    loss_of(network, 0).backward()
    with pytest.raises(UsageError, match=r"needs the loss: call step\(loss=loss\), or show\(loss\) before step\(\)"):
        optimizer.step()
    assert same(network, net())
    for loss in (torch.zeros(3), "low", None):
        with pytest.raises(UsageError, match="the loss must be one number"):
            optimizer.show(loss)


def test_the_loss_may_be_shown_before_a_step_and_is_that_of_one_step():
    ours, theirs = net(), net()
    one, other = (made("tensorwise_mixture", network.parameters()) for network in (ours, theirs))
    for step in range(3):
        for network in (ours, theirs):
            network.zero_grad()
            loss_of(network, step).backward()
        one.show(loss_of(ours, step) - 0.5)  # two parts of a batch
        one.show(loss_of(ours, step) + 0.5)
        one.step()
        other.step(loss=loss_of(theirs, step).item())
    for mine, yours in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine, yours)
    with pytest.raises(UsageError, match="needs the loss"):
        one.step()


@every_rule
def test_gradients_are_zeroed_as_torch_does(rule):
    network = net()
    optimizer = made(rule, network.parameters())
    trained(optimizer, network, range(1))
    optimizer.zero_grad(set_to_none=False)
    assert all(not value.grad.any() for value in network.parameters())
    optimizer.zero_grad()
    assert all(value.grad is None for value in network.parameters())


@every_rule
def test_frozen_parameters_and_those_without_gradient_stay(rule):
    network = net()
    network[0].bias.requires_grad_(False)
    optimizer = made(rule, network.parameters())
    trained(optimizer, network, range(2))
    before = copy.deepcopy(network)
    loss_of(network, 2).backward()
    network[2].weight.grad = None
    optimizer.step(loss=1.0)
    assert torch.equal(network[0].bias, net()[0].bias)
    assert torch.equal(network[2].weight, before[2].weight)
    assert not torch.equal(network[2].bias, before[2].bias)
    optimizer.zero_grad()
    optimizer.step(loss=1.0)  # nobody has a gradient: nothing happens, and no time passes
    network[0].bias.requires_grad_(True)
    trained(optimizer, network, range(3, 5))
    assert not torch.equal(network[0].bias, net()[0].bias)


@every_rule
def test_sparse_gradients_are_refused(rule):
    embedding = nn.Embedding(5, 2, sparse=True)
    optimizer = made(rule, embedding.parameters())
    embedding(torch.tensor([1, 2])).sum().backward()
    with pytest.raises(UsageError, match=r"shape \(5, 2\) has a sparse gradient.*sparse=False"):
        optimizer.step(loss=1.0)


@every_rule
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_other_types_of_parameters_are_moved_by_float32_mathematics(rule, dtype):
    ours, theirs = net(dtype), net(dtype).float()
    one, other = made(rule, ours.parameters()), made(rule, theirs.parameters())
    for step in range(4):
        for mine, yours in zip(ours.parameters(), theirs.parameters(), strict=True):
            gradient = torch.randn(yours.shape, generator=torch.Generator().manual_seed(step))
            mine.grad, yours.grad = gradient.to(dtype), gradient.to(dtype).float()
        one.step(loss=1.0)
        other.step(loss=1.0)
        if dtype != torch.float64:  # what is rounded once a step
            with torch.no_grad():
                for mine, yours in zip(ours.parameters(), theirs.parameters(), strict=True):
                    assert mine.dtype == dtype
                    torch.testing.assert_close(mine, yours.to(dtype), rtol=2e-2, atol=1e-5)
                    yours.copy_(mine.float())
    for mine, yours in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine.float(), yours, rtol=1e-4, atol=1e-5)


def test_parameters_that_are_no_real_numbers_are_refused():
    for dtype in (torch.complex64,):
        with pytest.raises(UsageError, match=f"moves no parameters of type {dtype}"):
            made("adam", [nn.Parameter(torch.zeros(2, dtype=dtype))])


@every_rule
def test_a_graph_that_a_step_outdates_says_so(rule):
    network = net()
    optimizer = made(rule, network.parameters())
    loss = loss_of(network, 0)
    loss.backward(retain_graph=True)
    optimizer.step(loss=loss)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


@every_rule
def test_parameters_keep_their_memory_and_layout(rule):
    network = nn.Conv2d(3, 4, 2).to(memory_format=torch.channels_last)
    places, strides = network.weight.data_ptr(), network.weight.stride()
    optimizer = made(rule, network.parameters())
    other = nn.Conv2d(3, 4, 2)
    other.load_state_dict(network.state_dict())
    second = made(rule, other.parameters())
    for one, by in ((network, optimizer), (other, second)):
        for step in range(3):
            one.zero_grad()
            one(torch.randn(2, 3, 5, 5, generator=torch.Generator().manual_seed(step))).square().sum().backward()
            by.step(loss=1.0)
    assert (network.weight.data_ptr(), network.weight.stride()) == (places, strides)
    torch.testing.assert_close(network.weight, other.weight, rtol=1e-4, atol=1e-6, check_stride=False)


@every_rule
def test_hooks_are_called_around_a_step(rule):
    network, seen = net(), []
    optimizer = made(rule, network.parameters())
    optimizer.register_step_pre_hook(lambda *_: seen.append("before"))
    optimizer.register_step_post_hook(lambda *_: seen.append("after"))
    optimizer.register_state_dict_post_hook(lambda *_: seen.append("saved"))
    optimizer.register_load_state_dict_pre_hook(lambda *_: seen.append("loading"))
    optimizer.register_load_state_dict_post_hook(lambda *_: seen.append("loaded"))
    trained(optimizer, network, range(1))
    optimizer.load_state_dict(optimizer.state_dict())
    assert seen == ["before", "after", "saved", "loading", "loaded"]


# --- What lasts -------------------------------------------------------------------------------------------------------


@every_rule
def test_a_state_that_is_saved_in_mid_run_goes_on_bit_by_bit(rule):
    whole, half = net(), net()
    trained(made(rule, whole.parameters()), whole, range(8))
    first = made(rule, half.parameters())
    trained(first, half, range(4))
    saved = io.BytesIO()
    torch.save({"net": half.state_dict(), "optimizer": first.state_dict()}, saved)
    trained(first, half, range(4, 6))  # goes on, and changes nothing of what was saved
    saved.seek(0)
    found = torch.load(saved, weights_only=True)
    later = net(seed=2)
    later.load_state_dict(found["net"])
    second = made(rule, later.parameters())
    second.load_state_dict(found["optimizer"])
    trained(second, later, range(4, 8))
    assert same(whole, later)


@every_rule
def test_a_state_dict_in_memory_is_a_snapshot_of_what_is_remembered(rule):
    network = net()
    optimizer = made(rule, network.parameters())
    trained(optimizer, network, range(2))
    state, params = optimizer.state_dict(), copy.deepcopy(network.state_dict())
    trained(optimizer, network, range(2, 5))
    after = copy.deepcopy(network)
    network.load_state_dict(params)
    optimizer.load_state_dict(state)
    trained(optimizer, network, range(2, 5))
    assert same(after, network)


@every_rule
def test_half_precision_keeps_its_state_in_float32(rule):
    network = net(torch.bfloat16)
    optimizer = made(rule, network.parameters())
    trained(optimizer, network, range(2))
    again = made(rule, network.parameters())
    again.load_state_dict(optimizer.state_dict())
    kept = [value for value in again._remembered() if value.numel() > 3 and value.is_floating_point()]
    assert kept
    assert {value.dtype for value in kept} == {torch.float32}


def test_a_state_of_another_rule_or_network_is_refused():
    network = net()
    optimizer = made("coordinatewise_lstm", network.parameters())
    trained(optimizer, network, range(1))
    for other in (made("adam", net()), made("coordinatewise_lstm", nn.Sequential(nn.Linear(4, 5), nn.Linear(5, 3)))):
        other.load_state_dict(optimizer.state_dict())
        for value in other.param_groups[0]["params"]:
            value.grad = torch.ones_like(value)
        with pytest.raises(UsageError, match="the loaded state is not that of"):
            other.step()


@every_rule
def test_copies_and_pickles_go_on_like_the_original(rule):
    network = net()
    optimizer = made(rule, network.parameters())
    trained(optimizer, network, range(3))
    copies = [copy.deepcopy((network, optimizer)), pickle.loads(pickle.dumps((network, optimizer)))]
    trained(optimizer, network, range(3, 6))
    for twin, by in copies:
        trained(by, twin, range(3, 6))
        assert same(twin, network)


# --- Schedulers and averages ------------------------------------------------------------------------------------------

SCHEDULERS = {
    "step": lambda optimizer: lr_scheduler.StepLR(optimizer, 2, 0.5),
    "lambda": lambda optimizer: lr_scheduler.LambdaLR(optimizer, lambda step: 0.5 ** (step // 2)),
    "cosine": lambda optimizer: lr_scheduler.CosineAnnealingLR(optimizer, 6),
    "one cycle": lambda optimizer: lr_scheduler.OneCycleLR(optimizer, 1.0, total_steps=8, cycle_momentum=False),
    "warm restarts": lambda optimizer: lr_scheduler.CosineAnnealingWarmRestarts(optimizer, 3),
    "sequence": lambda optimizer: lr_scheduler.SequentialLR(
        optimizer,
        [lr_scheduler.LinearLR(optimizer, 0.1, total_iters=3), lr_scheduler.ExponentialLR(optimizer, 0.9)],
        [3],
    ),
    "averaging": lambda optimizer: swa_utils.SWALR(optimizer, swa_lr=0.05),
}


@every_rule
@pytest.mark.parametrize("name", SCHEDULERS)
def test_schedulers_change_the_rate(rule, name):
    network, other = net(), net()
    optimizer, sgd = made(rule, network.parameters(), lr=0.5), torch.optim.SGD(other.parameters(), lr=0.5)
    ours, theirs = SCHEDULERS[name](optimizer), SCHEDULERS[name](sgd)
    for step in range(6):
        trained(optimizer, network, range(step, step + 1))
        sgd.step()
        ours.step()
        theirs.step()
        assert optimizer.param_groups[0]["lr"] == pytest.approx(sgd.param_groups[0]["lr"])
    assert not same(network, net())


@every_rule
def test_a_plateau_lowers_the_rate(rule):
    optimizer = made(rule, net(), lr=1.0)
    scheduler = lr_scheduler.ReduceLROnPlateau(optimizer, patience=0, factor=0.5)
    for _ in range(3):
        scheduler.step(1.0)
    assert optimizer.param_groups[0]["lr"] == 0.25


@every_rule
def test_averages_of_the_network_are_taken_beside_it(rule):
    network = net()
    average = swa_utils.AveragedModel(network)
    optimizer = made(rule, network.parameters())
    total = [torch.zeros_like(value) for value in network.parameters()]
    for step in range(4):
        trained(optimizer, network, range(step, step + 1))
        average.update_parameters(network)
        total = [one + value.detach() for one, value in zip(total, network.parameters(), strict=True)]
    for mean, one in zip(average.module.parameters(), total, strict=True):
        torch.testing.assert_close(mean, one / 4)


# --- Mixed precision, other processes, compilers ----------------------------------------------------------------------


@every_rule
def test_a_gradient_scaler_unscales_and_skips_steps_that_overflow(rule):
    scaled, plain = net(), net()
    one, other = made(rule, scaled.parameters()), made(rule, plain.parameters())
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0, growth_interval=1000)
    for step in range(3):
        one.zero_grad()
        loss = loss_of(scaled, step)
        scaler.scale(loss).backward()
        scaler.step(one, loss=loss)
        scaler.update()
        trained(other, plain, range(step, step + 1))
    for mine, yours in zip(scaled.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(mine, yours, rtol=1e-4, atol=1e-6)
    before = copy.deepcopy(scaled)
    one.zero_grad()
    scaler.scale(loss_of(scaled, 3)).backward()
    scaled[0].bias.grad.fill_(torch.inf)
    scaler.step(one, loss=1.0)
    scaler.update()
    assert same(scaled, before)
    assert scaler.get_scale() == 4.0


@pytest.mark.slow
@every_rule
@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning", "ignore::FutureWarning")
def test_a_compiled_network_is_trained_like_the_network_itself(rule, backend):
    if backend == "inductor":
        from torch._inductor.cpp_builder import get_cpp_compiler
        from torch._inductor.exc import InvalidCxxCompiler

        try:
            get_cpp_compiler()
        except (InvalidCxxCompiler, ImportError, RuntimeError) as error:
            pytest.skip(f"there is no compiler: {error}")
    plain, network = net(), net()
    compiled = torch.compile(network, backend=backend)
    trained(made(rule, plain.parameters()), plain, range(3))
    trained(made(rule, compiled.parameters()), compiled, range(3))
    for mine, yours in zip(network.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(mine, yours, rtol=1e-4, atol=1e-6)


def _rank(rank, rule, place, results):
    """Train by two processes that share the gradient of a batch, and tell the parameters."""
    torch.set_num_threads(1)
    store = torch.distributed.FileStore(place, 2)
    torch.distributed.init_process_group("gloo", store=store, rank=rank, world_size=2)
    network = nn.parallel.DistributedDataParallel(net())
    optimizer = made(rule, network.parameters())
    for step in range(4):
        inputs, targets = data(step)
        optimizer.zero_grad()
        half = slice(5 * rank, 5 * rank + 5)
        loss = nn.functional.cross_entropy(network(inputs[half]), targets[half])
        loss.backward()
        optimizer.step(loss=loss)
    torch.save([value.detach() for value in network.parameters()], f"{results}/{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.mark.slow
@every_rule
def test_two_processes_train_one_network(rule, tmp_path):
    torch.multiprocessing.spawn(_rank, (rule, str(tmp_path / "store"), str(tmp_path)), nprocs=2)
    ranks = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]
    alone = net()
    trained(made(rule, alone.parameters()), alone, range(4))
    for one, other, value in zip(*ranks, alone.parameters(), strict=True):
        assert torch.equal(one, other)
        torch.testing.assert_close(one, value.detach(), rtol=1e-4, atol=1e-6)


@pytest.mark.gpu
@every_rule
def test_a_network_may_move_to_another_device_in_mid_run(rule):
    if not torch.cuda.is_available():
        pytest.skip("there is no CUDA device")
    here, there = net(), net()
    one, other = made(rule, here.parameters()), made(rule, there.parameters())
    trained(one, here, range(2))
    trained(other, there, range(2))
    there.to("cuda")
    for step in range(2, 5):
        trained(one, here, range(step, step + 1))
        inputs, targets = data(step)
        other.zero_grad()
        loss = nn.functional.cross_entropy(there(inputs.to("cuda")), targets.to("cuda"))
        loss.backward()
        other.step(loss=loss)
    for mine, yours in zip(here.parameters(), there.parameters(), strict=True):
        torch.testing.assert_close(mine, yours.cpu(), rtol=1e-3, atol=1e-5)


def test_what_is_remembered_follows_the_device_of_the_parameters():
    """Without another device: the memory of a part is read anew where its place is another one."""
    network = net()
    optimizer = made("coordinatewise_lstm", network.parameters())
    trained(optimizer, network, range(2))
    before = [value.clone() for value in optimizer._remembered()]
    optimizer._live = {key: (flat, torch.device("meta"), tree) for key, (flat, _, tree) in optimizer._live.items()}
    twin = copy.deepcopy((network, optimizer))
    trained(optimizer, network, range(2, 4))
    trained(twin[1], twin[0], range(2, 4))
    assert same(network, twin[0])
    assert not all(torch.equal(*pair) for pair in zip(before, optimizer._remembered(), strict=True))


# --- Beside ours ------------------------------------------------------------------------------------------------------


@every_rule
@pytest.mark.parametrize("compiled", [True, False])
def test_it_moves_as_the_rule_does_in_an_episode_of_ours(rule, compiled):
    from l2l_cli.core.types import Batch
    from l2l_cli.models.model import Model
    from l2l_cli.models.point import Point

    network = net()
    optimizer = made(rule, network.parameters(), compiled=compiled)
    model = Model(net())
    params = {name: value.detach()[None] for name, value in net().named_parameters()}
    memory = optimizer.rule.begin(params, 12)
    for step in range(5):
        inputs, targets = data(step)
        batch = Batch(inputs[None], nn.functional.one_hot(targets, 3).float()[None])
        with torch.no_grad():
            point = Point(model, lambda out, to: -(to * out.log_softmax(-1)).sum(-1).mean(1), params, batch)
            params, memory = optimizer.rule.step(point, memory)
    trained(optimizer, network, range(5))
    for name, value in network.named_parameters():
        torch.testing.assert_close(value.detach(), params[name][0], rtol=1e-4, atol=1e-6)


@every_rule
def test_kernels_and_reference_move_alike(rule):
    networks = net(), net()
    for network, compiled in zip(networks, (True, False), strict=True):
        trained(made(rule, network.parameters(), compiled=compiled), network, range(6))
    for one, other in zip(*(network.parameters() for network in networks), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_rules_by_the_type_of_parameters_are_compiled_too():
    def trained_by(compiled):
        torch.manual_seed(0)
        network = nn.Sequential(nn.Conv2d(1, 3, 2), nn.Flatten(), nn.Linear(3, 2))
        rule = PerType(CoordinatewiseLSTM(3, initial_seed=1), CoordinatewiseLSTM(3, initial_seed=2)).requires_grad_(
            False
        )
        optimizer = RuleOptimizer(network.parameters(), rule, compiled=compiled)
        for step in range(4):
            optimizer.zero_grad()
            network(data(step)[0].view(-1, 1, 2, 2)).square().mean().backward()
            optimizer.step()
        return network, optimizer

    (one, by), (other, _) = trained_by(True), trained_by(False)
    assert by.rule.conv.compiled_steps().windows == 0  # single steps are no windows
    for mine, yours in zip(one.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(mine, yours, rtol=1e-4, atol=1e-6)
    state = by.state_dict()
    assert {name.split(".")[0] for name in state["state"]["group 0"]["parts"][0]["memory"]} == {"conv", "fc"}


def test_what_a_coordinate_costs_in_memory():
    """The numbers of CONTRACT.md, at many coordinates."""
    value = nn.Parameter(torch.zeros(100, 50))
    value.grad = torch.ones_like(value)
    costs = {"adam": 8, "coordinatewise_lstm": 2 * 2 * 3 * 4, "tensorwise_mixture": 3 * 4}
    for rule, bytes_each in costs.items():
        optimizer = made(rule, [value])
        optimizer.step(loss=1.0)
        assert optimizer.state_bytes() / value.numel() == pytest.approx(bytes_each, rel=0.01)


def test_everything_is_found_in_the_package():
    assert l2l_cli.load_optimizer is not None
    assert {"load_optimizer", "export"} <= {*dir(l2l_cli)}
    code = "import sys, l2l_cli; print({'torch', 'hydra', 'numpy'} & {*sys.modules}, l2l_cli.__version__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["set()", l2l_cli.__version__]  # light until something is asked for
    with pytest.raises(AttributeError, match="no attribute 'load_optimiser'"):
        l2l_cli.load_optimiser  # noqa: B018


def test_parameters_of_a_chain_are_parameters():
    networks = net(), net(seed=2)
    optimizer = made("adam", chain(*(network.parameters() for network in networks)))
    assert len(optimizer.param_groups[0]["params"]) == 8
