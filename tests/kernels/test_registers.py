"""Registers: the logistic function's digits, sums over positions, and what is said before compiling."""

from __future__ import annotations

import numpy as np
import pytest

from l2l_cli.kernels.seeds import layers
from l2l_cli.kernels.simd import compiled
from l2l_cli.kernels.simd.compiled import announce
from l2l_cli.kernels.simd.registers import lanes_of, padded, zeros


@pytest.mark.parametrize(("dtype", "digits"), [(np.float32, 3e-7), (np.float64, 4e-16)])
def test_the_logistic_function_to_the_last_digits(dtype, digits):
    values = np.concatenate([np.linspace(-80, 80, 4001), [-1e4, 1e4, 0.0]])
    array = zeros((padded(len(values), 1), 1), dtype)
    array[: len(values), 0] = values
    exact = 1 / (1 + np.exp(-array[:, 0].astype(np.float64).clip(-700, 700)))
    layers.squash(array, len(array), lanes_of(1, dtype))
    np.testing.assert_allclose(array[:, 0], exact, rtol=40 * digits, atol=digits)


def test_a_nan_stays_one_and_keeps_to_its_lane():
    array = zeros((2, 8), np.float32)
    array[1, 3] = np.nan
    layers.squash(array, 2, lanes_of(8, np.float32))
    assert np.isnan(array[1, 3])
    assert np.isnan(array).sum() == 1


@pytest.mark.parametrize("lanes", [1, 2, 8, 16])
@pytest.mark.parametrize("rows", [1, 8, 13])
def test_products_are_einsums(lanes, rows):
    rng = np.random.default_rng(0)
    width = padded(11, lanes)
    matrix, sources = zeros((rows, width, lanes), np.float64), zeros((width, lanes), np.float64)
    matrix[:, :11], sources[:11] = rng.normal(size=(rows, 11, lanes)), rng.normal(size=(11, lanes))
    result, back = zeros((rows, lanes), np.float64), zeros((width, lanes), np.float64)
    shape = lanes_of(lanes, np.float64)
    layers.product(result, matrix, sources, rows, width, shape)
    np.testing.assert_allclose(result, np.einsum("rpl,pl->rl", matrix, sources), rtol=1e-12)
    layers.transposed_product(back, matrix, result, rows, width, shape)
    np.testing.assert_allclose(back, np.einsum("rpl,rl->pl", matrix, result), rtol=1e-12)


def test_registers_begin_on_a_cache_line():
    assert zeros((3, 8), np.float32).ctypes.data % 64 == 0


def test_lanes_fill_a_register():
    with pytest.raises(ValueError, match="lanes must divide 16, and 3 does not"):
        lanes_of(3, np.float32)


def test_compiling_is_announced_once(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(compiled, "CACHE", tmp_path)
    announce(layers.squash, "logistic")
    assert "compiling the logistic kernel" in capsys.readouterr().err
    (tmp_path / "layers.squash-117.py311.nbi").touch()
    announce(layers.squash, "logistic")
    assert capsys.readouterr().err == ""
