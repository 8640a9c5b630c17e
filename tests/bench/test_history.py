"""The benchmark's history: what is written down is found again, and only what exceeds its spread is called slower."""

from __future__ import annotations

import json

from tests.bench import compare, history
from tests.bench.meta_step import check_agreement
from tests.bench.peers.problem import Product
from tests.bench.products import ANOTHER, FIRST, Ours
from tests.bench.samples import Sample


def record(tmp_path, **values):
    """A file of the history in which every contender has three rounds around its value."""
    samples = [
        Sample("b", "c", name, number, value + 0.1 * (number - 1), "GB/s" if name == "copy" else "ms")
        for name, value in values.items()
        for number in range(3)
    ]
    machine = history.machine() | {"when": f"2026-01-01T00:00:0{len(list(tmp_path.iterdir()))}+00:00"}
    return json.loads(history.write(machine, samples, tmp_path).read_text())


def test_medians_and_spreads_are_written_down_with_machine_and_versions(tmp_path):
    found = record(tmp_path, ours=2.0)
    assert found["numbers"] == [
        {"bench": "b", "case": "c", "contender": "ours", "unit": "ms", "median": 2.0, "low": 1.9, "high": 2.1}
    ]
    assert found["cores"] >= 1
    assert found["processor"]
    assert {"python", "torch", "numba", "numpy", "jax", "curvlinops-for-pytorch"} <= set(found["versions"])


def test_what_has_moved_by_more_than_its_spread_is_told_and_more_of_a_rate_is_faster(tmp_path, capsys):
    old = record(tmp_path, ours=2.0, other=2.0, copy=8.0, gone=1.0)
    new = record(tmp_path, ours=3.0, other=2.15, copy=10.0, come=1.0)
    found = history.changes(old, new)
    assert [(change.name[2], round(change.factor, 2)) for change in found] == [("ours", 1.5), ("copy", 0.8)]
    compare.report(old, new)
    text = capsys.readouterr().out
    assert text.index("slower") < text.index("ours") < text.index("faster") < text.index("copy")
    compare.report(old, old)
    assert "Nothing has moved by more than its spread." in capsys.readouterr().out


def test_a_single_round_has_no_spread_to_be_beyond():
    one, other = history.Spread(1.0, 1.0, 1.0), history.Spread(9.0, 9.0, 9.0)
    assert not history.Change(("b", "c", "n", "ms"), one, other).is_beyond_its_spread


def test_a_product_is_read_back_as_it_was_written_and_does_not_depend_on_what_is_kept(tmp_path):
    programs = {ANOTHER: Ours(3, keep=True), FIRST: Ours(3, keep=False)}
    programs[FIRST].meta_step()
    (half, found), (_, wanted) = (program.gradient() for program in programs.values())
    check_agreement("product", ANOTHER, found, wanted)
    product = programs[ANOTHER].product()
    product.save(tmp_path / "product.npz")
    back = Product.load(tmp_path / "product.npz")
    assert back.size == 784 * 3 + 3 + 30 + 10
    assert half > 0
    for one, other in zip([*back.theta, *back.v], [*product.theta, *product.v], strict=True):
        assert (one == other).all()
