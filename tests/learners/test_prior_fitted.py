"""The prior-fitted network: what its answers may depend on, and what they tend to."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from l2l_cli.core.random import generator
from l2l_cli.core.types import Batches, Phase
from l2l_cli.evaluation.score import score
from l2l_cli.learners import token_layout
from l2l_cli.learners.bayes.posterior import Bayes
from l2l_cli.learners.prior_fitted import AttentionBlock, PriorFitted
from l2l_cli.meta.backprop import Backprop
from l2l_cli.meta.gradient_training import MetaTraining
from l2l_cli.meta.plan import MetaPlan
from l2l_cli.optimizers.adam import Adam
from l2l_cli.tasks.functions import Booleans
from l2l_cli.tasks.halfplanes import Halfplanes
from tests.cases import TASKS, refusal

E, T = 3, 12


def halfplanes() -> tuple[Halfplanes, Batches]:
    task = Halfplanes(dimension=2, samples=T, share=[0.2, 0.8])
    return task, task.sample(E, 0, Phase.TEST).batches(0, T)


def answers_of(learner: PriorFitted, batches: Batches) -> Tensor:
    with torch.no_grad():
        return learner.unroll(learner.init(E, generator(0)), batches)[1]


def small(task, **options) -> PriorFitted:
    return PriorFitted(task, width=8, layers=2, heads=2, **options)


@pytest.mark.parametrize("prefixes", ["each", "causal"])
def test_only_a_causal_context_has_an_order(prefixes, double):
    task, batches = halfplanes()
    learner, orders = small(task, prefixes=prefixes), torch.arange(T).repeat(E, 1).T.clone()
    for row, count in enumerate(batches.shown.sum(0).long().tolist()):
        orders[:count, row] = torch.arange(count).flip(0)
    rows = torch.arange(E)
    shuffled = Batches(batches.inputs[orders, rows], batches.targets[orders, rows], batches.shown)
    assert not torch.equal(shuffled.inputs, batches.inputs)
    hidden = batches.shown == 0
    plain, other = (answers_of(learner, one)[hidden] for one in (batches, shuffled))
    assert torch.allclose(plain, other, rtol=1e-9) != (prefixes == "causal")


def test_what_is_answered_follows_the_task(double):
    task, _ = halfplanes()
    learner = small(task)
    assert (learner.way, learner.on(Booleans(length=T)).way) == ("hidden", "causal")


def test_queries_do_not_see_each_other(double):
    task, batches = halfplanes()
    learner, last = small(task), batches.inputs.clone()
    last[-1] += 1.0
    plain, other = answers_of(learner, batches), answers_of(learner, batches._replace(inputs=last))
    torch.testing.assert_close(plain[:-1], other[:-1], rtol=1e-12, atol=0)
    assert not torch.isclose(plain[-1], other[-1]).any()


def test_shown_steps_are_answered_from_their_prefix_if_they_are_wanted(double):
    task, batches = halfplanes()
    plain, every = (answers_of(small(task, prefixes=asked), batches) for asked in ("hidden", "each"))
    shown = batches.shown > 0
    torch.testing.assert_close(plain[~shown], every[~shown])
    assert (plain[shown] == 0.5).all()
    learner = small(task)
    with torch.no_grad():
        for step in range(int(batches.shown.sum(0).min())):
            first = learner.unroll(learner.init(E, generator(0)), Batches(*(part[:step] for part in batches)))[0]
            torch.testing.assert_close(learner.predict(first, batches.inputs[step]), every[step])


@pytest.mark.parametrize("prefixes", ["each", "causal"])
def test_what_is_computed_side_by_side_does_not_matter(prefixes, double, monkeypatch):
    task, batches = halfplanes()
    learner = small(task, prefixes=prefixes)
    whole = answers_of(learner, batches)
    monkeypatch.setattr(token_layout, "TOGETHER", 9)
    torch.testing.assert_close(answers_of(learner, batches), whole, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("prefixes", ["each", "causal"])
def test_there_may_be_more_examples_than_the_horizon_has(prefixes, double):
    task = Booleans(length=4)
    learner, batches = small(task, prefixes=prefixes), task.sample(E, 0, Phase.TEST).batches(0, 10)
    with torch.no_grad():
        state, answers = learner.unroll(learner.init(E, generator(0)), batches)
        stepped = learner.init(E, generator(0))
        for step in range(10):
            stepped, answer = learner.step(stepped, batches.at(step))
            torch.testing.assert_close(answer, answers[step])
    assert state.known.tolist() == [10] * E


def test_a_block_is_that_of_torch(double):
    torch.manual_seed(0)
    block, tokens = AttentionBlock(8, 2), torch.randn(E, 7, 8)
    mask = torch.arange(7) <= torch.tensor([0, 1, 4, 3, 3, 3, 2]).unsqueeze(1)
    reference = nn.TransformerEncoderLayer(8, 2, 32, 0.0, "gelu", batch_first=True, norm_first=True)
    own = dict(block.named_parameters())
    pairs = {
        "self_attn.in_proj_weight": torch.cat([own["query.weight"], own["pair.weight"]]),
        "self_attn.in_proj_bias": torch.zeros(24),
        **{f"self_attn.out_proj.{part}": own[f"attended.{part}"] for part in ("weight", "bias")},
        **{f"linear{n}.{part}": own[f"layers.{2 * n - 2}.{part}"] for n in (1, 2) for part in ("weight", "bias")},
        **{f"norm{n}.{part}": own[f"norms.{n - 1}.{part}"] for n in (1, 2) for part in ("weight", "bias")},
    }
    reference.load_state_dict(pairs)
    torch.testing.assert_close(block(tokens, mask.expand(E, -1, -1)), reference(tokens, src_mask=~mask))


def test_a_window_without_a_query_has_a_gradient_of_zero():
    task, batches = halfplanes()
    learner = small(task)
    _, losses = learner.losses(learner.init(E, generator(0)), batches._replace(shown=torch.ones(T, E)))
    found = torch.autograd.grad(losses.sum(), list(learner.parameters()), allow_unused=True)
    assert [value for value in found if value is not None and value.any()] == []
    assert any(value is not None for value in found)


@pytest.mark.parametrize(
    ("options", "task", "said"),
    [
        ({"heads": 3}, "b14", "width a multiple of heads"),
        ({}, "digits", "learner.squash=false"),
        ({"prefixes": "hidden"}, "b14", "use causal or each"),
        ({"prefixes": "all"}, "b14", "hidden, each, causal, not 'all'"),
    ],
)
def test_what_does_not_fit_is_refused(options, task, said):
    assert said in (refusal(lambda given: PriorFitted(given, **options), TASKS[task]()) or "")


def test_too_many_examples_are_refused():
    assert "at most 4096" in (refusal(PriorFitted, Booleans(length=5000)) or "")


@pytest.mark.parametrize("name", ["b14", "halfplanes"])
def test_training_goes_on_from_a_checkpoint(name):
    """A context has as many tensors, of the same shapes, when it is full."""
    plan, found = MetaPlan(updates=3, validate_every=100), []
    for stops in (False, True):
        learner = small(TASKS[name]())
        training = MetaTraining(learner, Backprop(2, window=5), Adam(), plan, 0)
        for number in range(3):
            if stops and number:
                saved = training.checkpoint()
                training = MetaTraining(small(TASKS[name]()), Backprop(2, window=5), Adam(), plan, 0)
                training.restore(saved)
            training.update()
        found.append(training.phi())
    for key, value in found[0].items():
        assert torch.equal(found[1][key], value), key


@pytest.mark.slow
@pytest.mark.parametrize("prefixes", ["each", "causal"])
def test_answers_tend_to_the_posterior_mean(prefixes):
    """Müller et al. 2022, corollary 1.1; for the Booleans it is known."""
    task = Booleans(length=16)
    learner = PriorFitted(task, width=16, layers=2, heads=2, prefixes=prefixes)
    plan = MetaPlan(updates=150, warmup=20, validate_every=150)
    for _ in MetaTraining(learner, Backprop(16), Adam(5e-3), plan, 0).records():
        pass
    ours, best = (score(one, 256, 16, 0, Phase.TEST).losses.mean().item() for one in (learner, Bayes(task)))
    assert best <= ours < best + 0.1 * (0.25 - best)
