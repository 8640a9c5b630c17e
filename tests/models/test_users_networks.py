"""What users' networks may be, and what is said of those that they may not be."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from l2l_cli.autodiff.program_writer import NotPure
from l2l_cli.autodiff.recorder import record
from l2l_cli.core.errors import UsageError
from l2l_cli.core.random import generator, normal
from l2l_cli.core.types import Batch, Batches, Phase
from l2l_cli.kernels.paths import Paths
from l2l_cli.learners.descent import Descent
from l2l_cli.learners.learned_init import LearnedInit
from l2l_cli.learners.weights_in_cell import WeightsInCell
from l2l_cli.models.model import Model, gaussian, glorot
from l2l_cli.models.point import Point, mean_squared_error
from l2l_cli.models.recorded_loss import RecordedLoss, by_episode
from l2l_cli.optimizers.coordinatewise_lstm import CoordinatewiseLSTM
from l2l_cli.optimizers.hessian_free import HessianFree
from l2l_cli.optimizers.kfac import KFac
from l2l_cli.optimizers.mlhf import MLHF
from l2l_cli.optimizers.per_type import PerType
from l2l_cli.optimizers.sgd import Sgd
from l2l_cli.parallel.replicated import Replicated
from tests.models.zoo import DRAWN, D, Function, N, Own, frozen, mlp, zoo

E = 3


def met(module, **options):
    """A model that starts from the module's own values, with them and a batch."""
    model = Model(module, **options)
    return model, model.init(E, generator(0)), normal((E, N, D), generator(1))


def layer(forward, **changes):
    return Function(forward, layer=nn.Linear(D, 2), **changes)


def trained(task, rule, steps=3):
    """θ before and after some steps."""
    learner = Descent(task, rule)
    state = learner.init(E, generator(0))
    with torch.no_grad():
        after, outputs = learner.unroll(state, task.sample(E, 0, Phase.TUNE).batches(0, steps))
    return state.params, after.params, outputs


# --- Frozen and pretrained --------------------------------------------------------------------------------------------


def test_frozen_parameters_are_no_part_of_theta_and_keep_their_values():
    module = frozen(mlp(), "0")
    own = module[0].weight.clone()
    for _ in range(2):  # a module that has been given once can be given again
        model = Model(module, gaussian(0.5))
        assert (
            list(model.shapes)
            == list(model.parameter_types)
            == list(model.init(1, generator(0)))
            == [
                "2.weight",
                "2.bias",
            ]
        )
        assert model.size == 8
    assert [value.requires_grad for value in module.parameters()] == [False, False, True, True]
    inputs = normal((E, N, D), generator(1))
    params = model.init(E, generator(0))
    expected = torch.stack(
        [functional.linear(module[:2](x), params["2.weight"][e], params["2.bias"][e]) for e, x in enumerate(inputs)]
    )
    torch.testing.assert_close(model(params, inputs), expected)
    assert torch.equal(module[0].weight, own)


def test_without_an_initializer_every_episode_starts_from_the_modules_values():
    module = mlp()
    model, params, inputs = met(module)
    for name, value in module.named_parameters():
        assert torch.equal(params[name], value.detach().expand_as(params[name]))
        assert params[name].data_ptr() != value.data_ptr()
    torch.testing.assert_close(model(params, inputs), module(inputs).detach())
    before = copy.deepcopy(module.state_dict())
    start, after, _ = trained(Own(module), Sgd(0.1))
    assert all((after[name] != value).any() for name, value in start.items())
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


def test_an_initializer_may_leave_a_parameter_as_it_is():
    """Fine-tuning: a frozen layer, a pretrained one, and a new head."""

    def head(name, shape, rng):
        return glorot(name, shape, rng) if name.startswith("4.") else None

    module = frozen(nn.Sequential(nn.Linear(D, 4), nn.Tanh(), nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 2)), "0")
    params = Model(module, head).init(E, generator(0))
    assert torch.equal(params["2.weight"][1], module[2].weight)
    assert not torch.equal(params["4.weight"][0], params["4.weight"][1])
    assert (params["4.bias"] == 0).all()
    assert "0.weight" not in params


def test_what_an_initializer_returns_has_the_shape_that_was_asked_for():
    model = Model(nn.Linear(D, 2), lambda name, shape, rng: torch.zeros(shape[1:]))
    with pytest.raises(UsageError, match=r"returns a tensor of shape \(2, 3\) for weight; it must be \(1, 2, 3\)"):
        model.init(1, generator(0))


def test_a_network_without_anything_to_fit_is_refused_when_it_is_fitted():
    for module in (frozen(mlp(), "0", "2"), nn.Identity()):
        model = Model(module)
        assert (model.size, model.shapes) == (0, {})
        with pytest.raises(UsageError, match="no parameters to fit: all are frozen"):
            model.init(1, generator(0))


def test_learned_rules_of_one_type_of_parameter_and_learned_starts_know_frozen_layers():
    start, after, _ = trained(zoo("frozen_blocks", DRAWN), PerType(*(CoordinatewiseLSTM(hidden=2) for _ in range(2))))
    assert start.keys() == after.keys() == {"1.weight", "1.bias", "3.0.weight", "3.0.bias"}
    task = zoo("frozen_blocks")
    learner = LearnedInit(task)
    assert learner.start.numel() == task.model.size
    _, losses = learner.losses(learner.init(E, generator(0)), task.sample(E, 0, Phase.TUNE).batches(0, 2))
    assert losses.isfinite().all()


# --- Types ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.complex64])
def test_types_that_cannot_be_fitted_are_refused(dtype):
    with pytest.raises(UsageError, match=rf"parameter 0 is {dtype}.*float32 or all float64"):
        Model(nn.ParameterList([torch.ones(3, dtype=dtype)]))


def test_a_mixture_of_types_is_refused_unless_it_is_frozen():
    module = mlp()
    module[2].double()
    with pytest.raises(
        UsageError, match=r"is torch.float(32|64), and .* torch.float(32|64); fitted parameters must be all"
    ):
        Model(module)
    assert Model(frozen(module, "2")).dtype == torch.float32
    assert Model(frozen(mlp().double(), "2"), gaussian(1.0)).init(1, generator(0))["0.weight"].dtype == torch.float64


def test_a_float64_network_computes_in_float64():
    model, params, inputs = met(mlp().double())
    outputs = model(params, inputs)
    assert outputs.dtype == torch.float64
    torch.testing.assert_close(outputs, model.module(inputs.double()).detach(), rtol=1e-12, atol=0)
    low = {name: value.float() for name, value in params.items()}
    assert model(low, inputs).dtype == torch.float64


def test_a_learner_whose_cells_are_float32_moves_a_float64_network():
    task = Own(mlp().double())
    task.spec = task.spec._replace(examples=1)
    learner = WeightsInCell(task, hidden=[4], sees="gradient")
    batches = Batches(normal((2, E, 1, D), generator(0)), normal((2, E, 1, 2), generator(1)))
    _, losses = learner.losses(learner.init(E, generator(0)), batches)
    assert losses.dtype == torch.float64
    assert all(value.any() for value in torch.autograd.grad(losses.sum(), list(learner.parameters())))


# --- What a call changes ----------------------------------------------------------------------------------------------


def test_no_call_changes_the_module_or_counts_on(double):
    for name in ("buffers", "norm", "spectral_norm", "in_place"):
        task = zoo(name)
        module, state = task.model.module, copy.deepcopy(task.model.module.state_dict())
        inputs, params = normal((E, N, D), generator(1)), task.model.init(E, generator(0))
        kept, attributes = inputs.clone(), {key: id(value) for key, value in vars(module).items()}
        first = task.model(params, inputs)
        task.model.linearize(params, inputs).push(params)
        assert torch.equal(task.model(params, inputs), first)
        assert torch.equal(inputs, kept)
        now = module.state_dict()
        assert now.keys() == state.keys()
        assert all(torch.equal(now[key], value) for key, value in state.items())
        assert {key: id(value) for key, value in vars(module).items() if key not in TABLES} == {
            key: value for key, value in attributes.items() if key not in TABLES
        }


TABLES = ("_parameters", "_buffers", "_modules", "_non_persistent_buffers_set")


def test_batch_normalisation_normalises_by_the_batch_in_training_and_by_its_statistics_in_evaluation():
    for training in (True, False):
        module = nn.BatchNorm1d(D).train(training)
        module.running_mean += 2.0
        model, params, inputs = met(module)
        mean = inputs.mean(1, keepdim=True) if training else 2.0
        spread = (inputs.var(1, correction=0, keepdim=True) + 1e-5).sqrt() if training else 1.00001**0.5
        torch.testing.assert_close(model(params, inputs), (inputs - mean) / spread, rtol=1e-4, atol=1e-5)


def test_parameters_that_forward_changes_in_place_are_refused():
    def clamped(self, x):
        with torch.no_grad():
            self.layer.weight.clamp_(min=0.0)
        return self.layer(x)

    model, params, inputs = met(layer(clamped))
    before = {name: value.clone() for name, value in params.items()}
    with pytest.raises(UsageError, match=r"changes its parameter layer\.weight in place"):
        model(params, inputs)
    assert all(torch.equal(params[name], value) for name, value in before.items())


def test_a_second_pass_that_differs_is_not_recorded():
    calls = []

    def counting(x):
        calls.append(1)
        return (x * len(calls),)

    def by_array(x):
        return (x * float(x.numpy().max()),)

    def by_mask(x):
        return (x[x > 0.5].sum() * x,)

    def drawing(x):
        return (x + torch.rand(3),)

    for function in (counting, by_array, by_mask, drawing):
        with pytest.raises(NotPure):
            record(function, torch.tensor([0.2, 0.6, 0.9]))
    program = record(lambda x: (x[torch.tensor([2, 0])],), torch.arange(3.0))
    assert program(torch.tensor([5.0, 6.0, 7.0]))[0].tolist() == [7.0, 5.0]


# --- Random numbers ---------------------------------------------------------------------------------------------------


def dropout():
    return nn.Sequential(nn.Linear(D, 8), nn.Dropout(0.5), nn.Linear(8, 2))


def drops(**options):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Own(dropout(), **options)


@pytest.mark.parametrize("in_turn", [False, True])
def test_dropout_draws_anew_for_every_call_and_episode_and_alike_from_one_seed(in_turn):
    model, params, inputs = met(dropout(), in_turn=in_turn)
    inputs = inputs[:1].expand(E, -1, -1)
    found = []
    for warm in (False, True):  # what the first call finds out costs no draw
        torch.manual_seed(5)
        found.append([model(params, inputs) for _ in range(2)])
        assert warm or not torch.equal(*found[0])
    torch.testing.assert_close(*found, rtol=0, atol=0)
    assert not torch.equal(found[0][0][0], found[0][0][1])
    model.module.eval()
    assert torch.equal(model(params, inputs), model(params, inputs))


def test_dropout_in_turn_is_that_of_a_plain_loop():
    model, params, inputs = met(dropout(), in_turn=True)
    torch.manual_seed(5)
    found = model(params, inputs)
    torch.manual_seed(5)
    torch.testing.assert_close(found, torch.stack([model.module(x) for x in inputs]).detach())


@pytest.mark.parametrize(
    "rule",
    [lambda: Sgd(0.1), lambda: CoordinatewiseLSTM(hidden=3), lambda: HessianFree(), lambda: KFac(0.1, 0.1), MLHF],
)
def test_training_with_dropout_is_the_same_from_one_seed(rule):
    found = []
    for _ in range(2):
        torch.manual_seed(3)
        found.append(trained(drops(), rule())[1:])
    torch.testing.assert_close(*found, rtol=0, atol=0)
    torch.manual_seed(4)
    assert any(
        not torch.equal(one, other)
        for one, other in zip(trained(drops(), rule())[1].values(), found[0][0].values(), strict=True)
    )


def test_dropout_on_the_compiled_path_is_that_of_the_reference():
    found = []
    for compiled in (False, True):
        task, rule = drops(), CoordinatewiseLSTM(hidden=3)
        learner, batches = Descent(task, rule, paths=Paths(compiled)), task.sample(E, 0, Phase.TUNE).batches(0, 3)
        state = learner.init(E, generator(0))
        torch.manual_seed(3)
        with torch.no_grad():
            answers = learner.unroll(state, batches)[1]
        losses = learner.losses(state, batches)[1]
        found.append((answers, losses, *torch.autograd.grad(losses.sum(), list(rule.parameters()))))
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-5)


def test_products_with_a_jacobian_have_the_draws_of_the_outputs(double):
    for recompute in (False, True):
        task = drops(recompute=recompute)
        params, batch = task.model.init(E, generator(0)), task.sample(E, 0, Phase.TUNE).batch(0)
        torch.manual_seed(3)
        at = task.model.linearize(params, batch.inputs)
        u = torch.ones_like(at.outputs)
        torch.testing.assert_close(
            (at.push(params) * u).sum(), sum((v * params[k]).sum() for k, v in at.pull(u).items())
        )
        torch.testing.assert_close(at.push({k: v * k.startswith("2") for k, v in params.items()}), at.outputs)
        torch.manual_seed(3)
        params = {name: value.requires_grad_() for name, value in params.items()}
        expected = torch.autograd.grad(task.model(params, batch.inputs).sum(), list(params.values()))
        torch.testing.assert_close(tuple(at.pull(u).values()), expected)


def test_a_learned_start_differentiates_the_steps_that_were_made(double):
    found = []
    for compiled in (False, True):
        task = drops()
        learner = LearnedInit(task, paths=Paths(compiled))
        torch.manual_seed(3)
        losses = learner.losses(learner.init(E, generator(0)), task.sample(E, 0, Phase.TUNE).batches(0, 3))[1]
        found.append(torch.autograd.grad(losses.sum(), list(learner.parameters())))
    torch.testing.assert_close(*found)


def test_processes_that_share_a_batch_cannot_share_its_draws():
    with pytest.raises(UsageError, match=r"hardware.replicas=2 .* draw its own random numbers"):
        Replicated(Model(dropout()), 2, (D,))


def test_processes_share_batches_of_whole_numbers():
    task = zoo("frozen_embedding", DRAWN)
    shared = Replicated(task.model, 2, (D,))
    params, inputs = task.model.init(1, generator(0)), task.sample(1, 0, Phase.TUNE).batch(0).inputs
    torch.testing.assert_close(shared._model(params, inputs), task.model(params, inputs))


# --- What vmap refuses ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["gru", "lstm", "rnn", "branch", "item", "list", "numpy", "chosen", "norm"])
def test_a_network_that_vmap_refuses_is_computed_in_turn_by_itself(name):
    task = zoo(name, DRAWN)
    params, inputs = task.model.init(E, generator(0)), normal((E, N, D), generator(1))
    assert task.model.manner(params, inputs).in_turn
    assert not zoo("mlp").model.manner(zoo("mlp").model.init(E, generator(0)), inputs).in_turn
    one_by_one = [task.model({k: v[e : e + 1] for k, v in params.items()}, inputs[e : e + 1]) for e in range(E)]
    torch.testing.assert_close(task.model(params, inputs), torch.cat(one_by_one))


def test_the_users_own_error_is_what_is_raised():
    def broken(self, x):
        if x.sum() > -1e9:
            raise KeyError("my own mistake")
        return self.layer(x)

    model, params, inputs = met(layer(broken))
    for call in (model, model.linearize, model.trace):
        with pytest.raises(KeyError, match="my own mistake") as caught:
            call(params, inputs)
        assert caught.value.__cause__ is None
        assert caught.value.__context__ is None
    model, params, inputs = met(mlp())
    with pytest.raises(RuntimeError, match="mat1 and mat2 shapes cannot be multiplied"):
        model(params, inputs[..., :1])


def test_a_network_that_is_recorded_goes_on_choosing_by_its_inputs():
    task = zoo("branch", DRAWN)
    loss, layout = RecordedLoss(task.model, task.loss), by_episode(task.model)
    params, inputs = task.model.init(E, generator(0)), normal((E, N, D), generator(1)).abs()
    theta, targets = layout.pack(params), torch.zeros(E, N, 2)
    program = loss.gradient(layout, theta, inputs, targets)
    for sign in (1.0, -1.0):
        point = Point(task.model, task.loss, params, Batch(sign * inputs, targets))
        outputs, losses, gradient = program(theta, sign * inputs, targets)
        torch.testing.assert_close((outputs, losses, gradient), (point.outputs, point.loss, layout.pack(point.grad)))


# --- What the loss does not reach -------------------------------------------------------------------------------------


def test_what_the_loss_does_not_reach_has_no_gradient_and_no_curvature():
    for name in ("unreached", "dead_end"):
        task = zoo(name, DRAWN)
        params, batch = task.model.init(E, generator(0)), task.sample(E, 0, Phase.TUNE).batch(0)
        point = Point(task.model, task.loss, params, batch, second_order=True)
        assert point.unreached == {"spare.weight", "spare.bias"}
        v = {key: torch.ones_like(value) for key, value in params.items()}
        for found in (point.grad, point.hessian(v), point.ggn(v)):
            assert (found["spare.weight"] == 0).all()
            assert (found["layer.weight"] != 0).any()
        for rule in (Sgd(0.1), KFac(0.1, 0.1), HessianFree(), MLHF()):
            start, after, _ = trained(task, rule)
            assert torch.equal(start["spare.weight"], after["spare.weight"])
            assert not torch.equal(start["layer.weight"], after["layer.weight"])


@pytest.mark.parametrize(
    ("forward", "message"),
    [
        (lambda self, x: self.layer(x).detach(), "do not depend on any of its parameters"),
        (lambda self, x: x[:, :2], "do not depend on any of its parameters"),
        (lambda self, x: (self.layer(x), x), "returns a tuple, but a task's network must return one tensor"),
        (lambda self, x: {"logits": self.layer(x)}, "returns a dict"),
        (lambda self, x: None, "returns a NoneType"),
    ],
)
def test_outputs_that_nobody_could_fit_are_refused(forward, message):
    model, params, inputs = met(layer(forward))
    for call in (model, model.linearize, model.trace):
        with pytest.raises(UsageError, match=message):
            call(params, inputs)


def test_a_loss_that_does_not_depend_on_the_network_is_refused():
    task = zoo("mlp")
    params, batch = task.model.init(E, generator(0)), task.sample(E, 0, Phase.TUNE).batch(0)
    with pytest.raises(UsageError, match="the task's loss does not depend on the network's parameters"):
        _ = Point(
            task.model, lambda outputs, targets: mean_squared_error(outputs.detach(), targets), params, batch
        ).grad


# --- How a network is put together ------------------------------------------------------------------------------------


@pytest.mark.parametrize("container", [list, tuple, lambda layers: {"a": layers}])
def test_layers_in_plain_containers_are_refused(container):
    class Hidden(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(D, 2)
            self.layers = container([nn.Linear(D, D), nn.Linear(D, D)])

        def forward(self, inputs):
            return self.head(inputs)

    with pytest.raises(UsageError, match=r"body\.layers is a plain (list|tuple|dict) of layers.*nn\.ModuleList"):
        Model(nn.ModuleDict({"body": Hidden()}))


def test_layers_that_are_registered_elsewhere_may_be_listed_too():
    module = mlp()
    module.order = [module[2], module[0]]
    module.sizes = [1, (2, "three"), {"four": None}]
    assert Model(module).size == sum(value.numel() for value in module.parameters())
    assert Model(nn.GRU(D, 2)).size > 0  # torch itself keeps a list of its parameters


def test_a_lazy_network_is_called_before_it_is_given():
    module = nn.Sequential(nn.LazyLinear(2))
    with pytest.raises(UsageError, match=r"no values for 0\.weight yet.*call it once"):
        Model(module)
    module(torch.ones(1, D))
    assert Model(module).shapes == {"0.weight": (2, D), "0.bias": (2,)}


def test_layers_that_no_rule_knows_are_named():
    with pytest.raises(UsageError, match=r"0 \(Embedding\) has sparse gradients.*sparse=False"):
        Model(nn.Sequential(nn.Embedding(2, 2, sparse=True), nn.Linear(2, 2)))
    with pytest.warns(DeprecationWarning, match="jit"):
        scripted = torch.jit.trace(mlp(), torch.ones(1, D))
    with pytest.raises(UsageError, match=r"is compiled by torch\.jit"):
        Model(scripted)
    bag = Function(lambda self, x: self.body(x), body=nn.EmbeddingBag(2, 2))
    trained(Own(bag), Sgd(0.1))
    with pytest.raises(UsageError, match=r"without second derivatives.*embedding_bag.*use a first-order rule"):
        trained(Own(bag), HessianFree())


@pytest.mark.parametrize(
    "forward",
    [
        lambda self, x: checkpoint(self.layer, x, use_reentrant=False),  # vmap refuses its backward pass alone
        lambda self, x: self.seen.append(x.mean()) or self.layer(x) * len(self.seen),
        lambda self, x: self.layer(x) * self.memo.setdefault(x.shape, x.mean()),
        lambda self, x: self.layer(x)[x[:, 0].argsort()] * self.scale,
    ],
)
def test_other_ways_to_write_a_network(forward):
    def made(in_turn):
        torch.manual_seed(0)
        module = layer(forward)
        module.seen, module.memo, module.scale = [], {}, nn.Parameter(torch.tensor(2.0))
        return Own(module, in_turn=in_turn)

    found = [trained(made(in_turn), rule()) for in_turn in (False, True) for rule in (lambda: Sgd(0.1), HessianFree)]
    torch.testing.assert_close(found[0], found[2])
    torch.testing.assert_close(found[1], found[3], rtol=1e-3, atol=1e-4)  # conjugate gradients carry last digits on
    task = made(False)
    trained(task, Sgd(0.1))
    assert (task.model.module.seen, task.model.module.memo) == ([], {})


def test_shared_parameters_stay_one():
    task = zoo("tied", DRAWN)
    assert "twin.weight" not in task.model.shapes
    assert set(task.model.parameter_types) == set(task.model.shapes)
    params, after, _ = trained(task, Sgd(0.1))
    assert after.keys() == params.keys()


def test_a_network_survives_pickling_with_what_is_frozen():
    module = pickle.loads(pickle.dumps(frozen(mlp(), "0")))
    assert list(Model(module).shapes) == ["2.weight", "2.bias"]


# --- Layers by K-FAC --------------------------------------------------------------------------------------------------


def test_kfac_factors_what_is_not_frozen(double):
    """A frozen bias is as none, and a frozen layer before it as part of the inputs."""
    rng = generator(0)
    weight, inputs = normal((2, D), rng), normal((E, N, D), rng)
    batch = Batch(inputs, normal((E, N, 2), rng))
    with_bias, without = nn.Linear(D, 2), nn.Linear(D, 2, bias=False)
    for module in (with_bias, without):
        module.weight.data = weight.clone()
    with_bias.bias.requires_grad_(False).zero_()
    deeper = nn.Sequential(nn.Linear(D, D, bias=False), without)
    deeper[0].weight.data = torch.eye(D)
    found = []
    for module in (with_bias, without, frozen(deeper, "0")):
        model, rule = Model(module), KFac(0.1, 0.1, fisher="exact")
        point = Point(model, mean_squared_error, model.init(E, rng), batch)
        found.append(next(iter(rule.step(point, rule.init(point.params))[0].values())))
    for other in found[1:]:
        torch.testing.assert_close(found[0], other)


def test_kfac_says_which_layer_it_does_not_know():
    with pytest.raises(UsageError, match=r"body \(Embedding\).*use hessian_free or a first-order rule"):
        trained(zoo("embedding", DRAWN), KFac())


# --- Time -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["embedding", "norm", "buffers", "gru", "numpy"])
def test_an_estimate_of_time_changes_nothing_and_ends_no_run(name):
    task = zoo(name)
    before, random = copy.deepcopy(task.model.module.state_dict()), torch.get_rng_state()
    assert task.step_seconds(E) > 0
    assert torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(value, before[key]) for key, value in task.model.module.state_dict().items())
    assert task.model.multiply_adds((99, 99)) >= task.model.size
