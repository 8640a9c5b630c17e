"""Data in whatever form the user has them, as examples that are divided over the phases of meta-learning."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sized
from itertools import islice
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from l2l_cli.core.errors import UsageError
from l2l_cli.core.files import checksum
from l2l_cli.core.printable import counted
from l2l_cli.core.random import generator
from l2l_cli.core.types import Phase, Split

Division = Literal["phases", "shared"]
"""Ways to divide examples: each phase has its own; or all have the same, and differ in θ₀ and minibatches."""

SHARES = {Phase.META_TRAIN: 0.6, Phase.META_VALID: 0.1, Phase.TUNE: 0.1, Phase.TEST: 0.2}
"""Share of the examples that belongs to each phase."""

HELD_OUT = 0.2
"""Share of a phase's examples that are held out within it."""

MOST = 1_000_000
"""Largest number of examples that are read, since data may be endless."""

FORMS = (
    "a pair of tensors (inputs, targets), a torch Dataset, an iterable of batches (inputs, targets), a function "
    "without arguments that returns one of these, or a mapping of such by phase (meta_train, meta_valid, tune, test)"
)


class OwnExamples(NamedTuple):
    """Inputs (N, ...) and targets (N, ...)."""

    inputs: Tensor
    targets: Tensor


Shares = dict[Phase, dict[Split, Tensor]]
"""Rows of the examples by phase and split."""


class Divided(NamedTuple):
    """All examples, and which of them each phase learns from and holds out."""

    examples: OwnExamples
    shares: Shares

    def fingerprint(self) -> str:
        """Return a name for the content."""
        parts = [value.cpu().contiguous().flatten().view(torch.uint8).numpy().data for value in self.examples]
        rows = [row.numpy().data for phase in self.shares.values() for row in phase.values()]
        return checksum(*(memoryview(part).cast("B") for part in (*parts, *rows)))


def read(name: str, found: object, division: Division) -> Divided:
    """Read data and divide them, the same way each time.

    Args:
        name: Name of the data, for messages.
        found: The data; see ``FORMS``.
        division: Way to divide them, unless they are divided by phase already.

    Raises:
        UsageError: The data are of another form, or too few.
    """
    found = _called(name, found)
    if not isinstance(found, Mapping):
        examples = _examples(name, found)
        return Divided(examples, _divided(name, len(examples.inputs), SHARES, division))
    parts = {Phase(key): _examples(name, _called(name, value)) for key, value in _by_phase(name, found).items()}
    return _joined(name, parts)


def in_memory(name: str, found: object) -> object:
    """Return data as a pair of tensors, or a mapping of pairs by phase, since an iterator yields its items only once.

    Raises:
        UsageError: See ``read``.
    """
    found = _called(name, found)
    if not isinstance(found, Mapping):
        return _examples(name, found)
    return {key: _examples(name, _called(name, value)) for key, value in _by_phase(name, found).items()}


def _by_phase(name: str, found: Mapping[object, object]) -> dict[str, object]:
    known = [phase.value for phase in Phase]
    given = {str(key): value for key, value in found.items()}
    wrong = [key for key in given if key not in known]
    if wrong or Phase.META_TRAIN not in given or Phase.TEST not in given:
        raise UsageError(
            f"{name} is a mapping of {', '.join(given) or 'nothing'}; data by phase need meta_train and test at "
            "least, and may have meta_valid and tune, which otherwise take a part of meta_train"
        )
    return given


def _joined(name: str, parts: Mapping[Phase, OwnExamples]) -> Divided:
    """Return data that the user has divided; missing phases get a part of the examples of meta-training."""
    shares: Shares = {}
    begin, train = 0, Phase.META_TRAIN
    for phase, examples in parts.items():
        count = len(examples.inputs)
        missing = [one for one in Phase if one not in parts] if phase == train else []
        own = {one: SHARES[one] for one in (train, *missing)} if phase == train else {phase: 1.0}
        found = _divided(name, count, own, "phases")
        shares |= {
            one: {split: rows + begin for split, rows in each.items()} for one, each in found.items() if one in own
        }
        begin += count
    try:
        both = OwnExamples(*(torch.cat(values) for values in zip(*parts.values(), strict=True)))
    except RuntimeError as error:
        raise UsageError(f"{name}: the examples of different phases have different shapes ({error})") from error
    return Divided(both, {phase: shares[phase] for phase in Phase})


def _divided(name: str, count: int, own: Mapping[Phase, float], division: Division) -> Shares:
    """Return the rows of each phase and split, drawn at random."""
    rows = torch.randperm(count, generator=generator(0, "module", "division"), device="cpu")
    if division == "shared":
        both = _split(name, rows, count)
        return dict.fromkeys(own, both)
    total, found, begin, passed = sum(own.values()), {}, 0, 0.0
    for phase, share in own.items():
        passed += share
        end = round(count * passed / total)
        found[phase] = _split(name, rows[begin:end], count)
        begin = end
    return found


def _split(name: str, rows: Tensor, count: int) -> dict[Split, Tensor]:
    held = max(1, round(HELD_OUT * len(rows)))
    if len(rows) < 2:
        raise UsageError(
            f"{name} has {counted(count, 'example')}, too few to give each phase a part; give more, or let all phases "
            "have the same ones with task.division=shared"
        )
    return {Split.TRAIN: rows[held:], Split.TEST: rows[:held]}


def _called(name: str, found: object) -> object:
    """Return the data, or what the user's function returns."""
    if not callable(found) or isinstance(found, Dataset | DataLoader):
        return found
    try:
        return found()
    except TypeError as error:
        raise UsageError(f"{name} must be called without arguments, or be data itself: {error}") from error


def _examples(name: str, found: object) -> OwnExamples:
    match found:
        case (Tensor() | np.ndarray(), Tensor() | np.ndarray()):
            return _checked(name, [_pair(name, found)])
        case DataLoader():
            return _checked(name, _pairs(name, found))
        case Dataset():
            rows = (found[k] for k in range(min(len(found), MOST))) if isinstance(found, Sized) else iter(found)
            pairs = (_two(name, one) for one in rows)
            singles = ((torch.as_tensor(one)[None], torch.as_tensor(other)[None]) for one, other in pairs)
            return _checked(name, (_pair(name, one) for one in islice(singles, MOST)))
        case Iterable() if not isinstance(found, str | bytes | Tensor | np.ndarray):
            return _checked(name, _pairs(name, found))
    raise UsageError(f"{name} is a {type(found).__name__}; data are {FORMS}")


def _pairs(name: str, batches: Iterable[object]) -> Iterator[OwnExamples]:
    for batch in batches:
        yield _pair(name, batch)


def _two(name: str, item: object) -> tuple[object, object]:
    """Return inputs and targets.

    Raises:
        UsageError: It is not a pair.
    """
    if not isinstance(item, tuple | list) or len(item) != 2:
        raise UsageError(f"{name} holds a {type(item).__name__} where it must hold a pair (inputs, targets)")
    return item[0], item[1]


def _pair(name: str, batch: object) -> OwnExamples:
    """Return a batch as tensors.

    Raises:
        UsageError: It is not a pair of tensors with the same number of examples.
    """
    inputs, targets = _two(name, batch)
    try:
        pair = OwnExamples(torch.as_tensor(inputs), torch.as_tensor(targets))
    except (TypeError, ValueError, RuntimeError) as error:
        raise UsageError(
            f"{name}: inputs and targets must be one tensor each, not {type(inputs).__name__} and "
            f"{type(targets).__name__}; let the network take all of its inputs as one tensor"
        ) from error
    if pair.inputs.dim() < 1 or pair.inputs.shape[:1] != pair.targets.shape[:1]:
        raise UsageError(
            f"{name}: inputs of shape {tuple(pair.inputs.shape)} and targets of shape {tuple(pair.targets.shape)} do "
            "not have the same number of examples, which lie along the first axis"
        )
    return pair


def _checked(name: str, pairs: Iterable[OwnExamples]) -> OwnExamples:
    """Join batches to one, of at most ``MOST`` examples."""
    kept, count = [], 0
    for pair in pairs:
        kept.append(pair)
        count += len(pair.inputs)
        if count >= MOST:
            break
    if not count:
        raise UsageError(f"{name} has no examples")
    try:
        whole = OwnExamples(*(torch.cat(values)[:MOST] for values in zip(*kept, strict=True)))
    except RuntimeError as error:
        raise UsageError(f"{name}: examples have different shapes ({error}); pad them to one shape") from error
    wrong = [
        what for what, value in whole._asdict().items() if value.is_floating_point() and not value.isfinite().all()
    ]
    if wrong:
        raise UsageError(f"{name}: its {' and '.join(wrong)} hold numbers that are not finite")
    return whole
