"""The parts of the benchmark that compute something; nothing here is timed."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from l2l_cli.optimizers.coordinatewise_lstm import CoordinatewiseLSTM
from l2l_cli.optimizers.preprocess import LogAndSign
from l2l_cli.tasks.halfplanes import Halfplanes
from tests.bench import curved, rules
from tests.bench.cells import cell_setting, cell_work
from tests.bench.floors import Floors, backward_flops, forward_bytes, forward_flops, meta_step_work
from tests.bench.meta_step import FAST, REFERENCE, Disagreement, Ours, check_agreement
from tests.bench.peers.client import Peer, PeerError
from tests.bench.peers.problem import Array, Problem
from tests.bench.peers.protocol import reply_all
from tests.bench.problems import Bowl, Setting, meta_step_setting
from tests.bench.samples import Case, Sample, Work, by_round, interleaved, ratios, slope, spread, write_csv


@pytest.mark.parametrize(("layers", "preprocess"), [(1, None), (2, None), (2, LogAndSign())])
def test_operations_are_two_for_each_weight_of_a_product(layers, preprocess):
    rule = CoordinatewiseLSTM(hidden=7, layers=layers, preprocess=preprocess)
    weights = sum(value.numel() for name, value in rule.named_parameters() if "bias" not in name)
    features = rule.preprocess.width
    assert forward_flops(layers, 7, features) == 2 * weights
    assert backward_flops(layers, 7, features) == 4 * weights - 2 * rule.cells[0].input_weight.numel()


def test_the_papers_rule_costs_29_thousand_operations_and_652_bytes():
    assert forward_flops(2, 20, 1) + backward_flops(2, 20, 1) == 29_240
    assert forward_bytes(2, 20) == 652
    assert meta_step_work(CoordinatewiseLSTM(), 10, 3).flops == 30 * 29_240


def test_each_rule_takes_the_meta_gradient_that_goes_with_it():
    (case,) = rules.cases(0.0)
    damped = "damped: ρ = 0.7, γ = 0.985"
    assert case.notes == {"coordinatewise_lstm": "∇ is stopped", "tensorwise_mixture": damped, "adafac_mlp": damped}
    assert {estimator.window for estimator in map(rules.estimator_of, rules.RULES)} == {20}


def test_floors_take_the_better_library_of_each_round():
    samples = [
        Sample("machine", "matrix product", "torch", 0, 100.0, "GFLOP/s"),
        Sample("machine", "matrix product", "numpy", 0, 200.0, "GFLOP/s"),
        Sample("machine", "copy", "torch", 0, 10.0, "GB/s"),
    ]
    floors, work = Floors(samples), Work(flops=2e9, moved=1e9)
    assert floors.arithmetic(work) == {0: pytest.approx(10.0)}
    assert floors.memory(work) == {0: pytest.approx(100.0)}


def test_slope_is_the_exponent_and_leaves_out_what_was_not_seen():
    assert slope([1, 10, 100], [3.0, 30.0, 300.0]) == pytest.approx(1.0)
    assert slope([1, 10, 100], [0.0, 2.0, 200.0]) == pytest.approx(2.0)
    assert np.isnan(slope([1, 10], [0.0, 2.0]))


def test_rounds_turn_the_order_round_and_ratios_stay_in_their_round(tmp_path):
    seen: list[str] = []

    def measure(name: str, value: float) -> dict[str, float]:
        seen.append(name)
        return {"ms": value * len(seen)}

    case = Case("b", "c", {"one": lambda: measure("one", 1.0), "two": lambda: measure("two", 3.0)})
    samples = interleaved([case], 3, lambda what: None)
    assert seen == ["one", "two", "two", "one", "one", "two"]
    found = ratios(by_round(samples, "b", "c", "two", "ms"), by_round(samples, "b", "c", "one", "ms"))
    assert found == pytest.approx([6.0, 9.0 / 4.0, 18.0 / 5.0])
    assert spread(found) == (pytest.approx(3.6), pytest.approx(2.25), pytest.approx(6.0))
    write_csv(samples, tmp_path / "samples.csv")
    lines = (tmp_path / "samples.csv").read_text().splitlines()
    assert lines[:2] == ["bench,case,contender,round,value,unit", "b,c,one,0,1.0,ms"]


class Doubling:
    """A program whose meta-gradient is 2φ."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem

    def gradient(self) -> tuple[float, list[Array]]:
        return 0.5, [2 * value for value in self.problem.phi]

    def meta_step(self) -> None:
        raise RuntimeError("no\nmore")


def test_a_program_answers_line_by_line_and_survives_its_failures(tmp_path):
    problem = meta_step_setting("quadratic").problem()
    problem.save(tmp_path / "problem.npz")
    asked = ["gradient q x", f"load q {tmp_path}/problem.npz", f"gradient q {tmp_path}/gradient.npz", "time q 1"]
    answers = io.StringIO()
    reply_all(lambda path: Doubling(Problem.load(path)), io.StringIO("\n".join([*asked, "sing q 1"]) + "\n"), answers)
    expected = ["error KeyError: 'q'", "ok", "ok 0.5", "error RuntimeError: no more"]
    assert answers.getvalue().splitlines() == [*expected, "error ValueError: unknown command 'sing'"]
    with np.load(tmp_path / "gradient.npz") as file:
        for index, value in enumerate(problem.phi):
            np.testing.assert_array_equal(file[f"arr_{index}"], 2 * value)


def test_a_problem_is_read_back_as_it_was_written(tmp_path):
    problem = meta_step_setting("mlp").problem()
    problem.save(tmp_path / "problem.npz")
    back = Problem.load(tmp_path / "problem.npz")
    assert (back.layers, back.hidden, back.steps, back.coordinates, back.log_scale) == (2, 20, 20, 15_910, 10.0)
    assert not back.is_quadratic
    for one, other in zip([*back.phi, *back.theta], [*problem.phi, *problem.theta], strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_peer_that_is_not_installed_says_why():
    peer = Peer("tests.bench.peers.missing", Path(sys.executable))
    with pytest.raises(PeerError, match="No module named"):
        peer.gradient("quadratic")
    peer.close()
    with pytest.raises(PeerError, match="make bench"):
        Peer("tests.bench.peers.with_jax", Path("nowhere/bin/python"))


def test_a_contender_that_computes_something_else_is_refused():
    wanted = [np.ones(3), np.ones((2, 2))]
    assert check_agreement("case", "one", [1.0001 * value for value in wanted], wanted) == "within 1e-04"
    with pytest.raises(Disagreement, match="other"):
        check_agreement("case", "other", [1.01 * value for value in wanted], wanted)
    with pytest.raises(Disagreement, match="inf"):
        check_agreement("case", "broken", [np.full(3, np.nan), wanted[1]], wanted)


def test_both_of_our_paths_agree_on_a_bowl():
    gradients = {
        name: Ours(Setting(Bowl(5), CoordinatewiseLSTM(hidden=3), 2, steps=4), name == FAST).gradient()
        for name in (FAST, REFERENCE)
    }
    assert gradients[FAST][0] == pytest.approx(gradients[REFERENCE][0])
    check_agreement("bowl", FAST, gradients[FAST][1], gradients[REFERENCE][1])


def test_both_of_our_paths_agree_on_a_network_in_anothers_memory():
    settings = [cell_setting(Halfplanes(dimension=2, samples=8, hidden=[3]), 5, hidden=[4, 3]) for _ in range(2)]
    (_, found), (_, wanted) = (
        Ours(setting, fast).gradient() for setting, fast in zip(settings, (True, False), strict=True)
    )
    check_agreement("cells", FAST, found, wanted)


def test_the_papers_meta_step_costs_six_operations_a_weight_and_sample():
    work = cell_work(cell_setting(Halfplanes(), 1).learner, 1, 1)
    matrices = 7 * 64 + 64 * 64 + 3 * 193 * 64
    assert work.flops == 6 * matrices - 2 * 7 * 64 + 6 * 193


def test_the_floor_of_a_curved_step_is_sgds_and_five_products():
    case = Case(curved.BENCH, "c", {})
    values = {curved.SGD: 3.0, curved.PUSH: 2.0, curved.PULL: 1.0}
    samples = [Sample(curved.BENCH, "c", name, 0, value, "ms") for name, value in values.items()]
    assert curved.floor(samples, case) == {0: 18.0}


@torch.no_grad()
def test_every_contender_of_a_curved_step_can_be_made():
    steps = curved.Steps(curved.TASKS["mlp"]())
    assert set(steps.of) == {curved.SGD, curved.PUSH, curved.PULL, curved.FREE, curved.LEARNED, curved.NETWORKS}
    for step in steps.of.values():
        step()
    assert steps._states[curved.LEARNED].memory.evaluations.tolist() == [curved.ITERATIONS + 1]
    sizes = {name: task().model.size for name, task in curved.TASKS.items()}
    assert sizes == {"mlp": 15_910, "c16": 12_378, "conv32": 36_954, "cuda-convnet": 1_756_426}
