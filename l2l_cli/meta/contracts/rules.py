"""The contract of an update rule: a finite displacement of every parameter, and a memory that is new at each step."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from l2l_cli.core.random import generator, normal
from l2l_cli.core.types import Params
from l2l_cli.meta.contracts.hidden import attributes_of, changed_attributes, check_nothing_hidden
from l2l_cli.meta.contracts.refusal import calling, refuse
from l2l_cli.meta.contracts.trying import copied, differing, drawn, repeated, without_dropout
from l2l_cli.models.point import Point
from l2l_cli.optimizers.base import FirstOrder, Optimizer


def check_displacement(rule: Optimizer[Any], point: Point, memory: object) -> None:
    """Check what a rule returns at a point.

    Raises:
        ContractError: A parameter is missing, or has another shape or type, or is not finite.
    """
    method = "update" if isinstance(rule, FirstOrder) else "step"
    like = point.params
    if isinstance(rule, FirstOrder) and (own := next(rule.parameters(), None)) is not None:
        like = {name: value.to(own.dtype) for name, value in like.items()}  # the type in which it receives gradients
    with calling(rule, method), drawn(0):
        found: object
        if isinstance(rule, FirstOrder):
            found = rule.update({name: value.to(like[name].dtype) for name, value in point.grad.items()}, memory)
        else:
            found = rule.step(point, memory)
    if not isinstance(found, tuple) or len(found) != 2 or not isinstance(found[0], dict):
        refuse(rule, method, "does not return (displacement by name, memory)", "return both, as a tuple")
    _check_named(rule, method, found[0], like)


def _check_named(rule: Optimizer[Any], method: str, moves: Params, params: Params) -> None:
    what = "displacement" if method == "update" else "parameter"
    cure = "return {name: … for name, value in grad.items()}" if method == "update" else "return all of point.params"
    if missing := sorted(params.keys() ^ moves.keys()):
        state = "returns no" if missing[0] in params else "returns an unknown"
        refuse(rule, method, f"{state} {what} {', '.join(missing)}", cure)
    for name, value in params.items():
        move = moves[name]
        if not isinstance(move, Tensor) or move.shape != value.shape:
            found = tuple(move.shape) if isinstance(move, Tensor) else type(move).__name__
            refuse(rule, method, f"returns {found} for {name}, which is {tuple(value.shape)}", "keep every shape")
        if move.dtype != value.dtype:
            problem = f"returns {move.dtype} for {name}, which is {value.dtype}"
            refuse(rule, method, problem, "end with .to(grad.dtype)")
        if not move.isfinite().all():
            problem = f"returns a {what} of {name} that is not finite at the first step"
            refuse(rule, method, problem, "look for 0 / 0 or √0")


def check_optimizer(rule: FirstOrder[Any]) -> None:
    """Check a rule that is to move φ, which is one vector.

    Raises:
        ContractError: The rule breaks its contract.
    """
    if not isinstance(rule, FirstOrder):
        refuse(rule, "", "cannot move φ", "derive it from l2l_cli.optimizers.base.FirstOrder")
    check_nothing_hidden(rule)
    params = {"phi": normal((5,), generator(0, "phi"))}
    grad = {"phi": normal((5,), generator(0, "grad"))}
    with torch.no_grad(), calling(rule, "init"):
        memory = rule.init(params)
        before = attributes_of(rule)
        for _ in range(2):  # changing a zero in place may go unseen at first
            kept = copied((grad, memory))
            with calling(rule, "update"), drawn(0):
                moves, after = rule.update(grad, memory)
            _check_named(rule, "update", moves, params)
            if differing(kept, (grad, memory)):
                refuse(rule, "update", "changes its arguments in place", "make new tensors")
            memory = after
        if names := changed_attributes(before, attributes_of(rule)):
            problem = f"changes self.{', self.'.join(names)}, which checkpoints do not hold"
            refuse(rule, "update", problem, "keep it in the memory that update returns")
        with without_dropout(rule):
            repeated(rule, "update", lambda: rule.update(grad, memory), "draw nothing, or keep a seed in the memory")
