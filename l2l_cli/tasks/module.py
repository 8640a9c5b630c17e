"""A user's own network and data as a task: ``task=module task.model=my_net:Net task.data=my_data:batches``."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional

from l2l_cli.autodiff.chain import trained
from l2l_cli.core.errors import UsageError
from l2l_cli.core.global_draws import Draws
from l2l_cli.core.printable import counted
from l2l_cli.core.random import derive, generator, integers
from l2l_cli.core.reference import Reference
from l2l_cli.core.types import Batch, Phase, Spec, Split
from l2l_cli.models.model import Model
from l2l_cli.models.point import mean_squared_error, output_hessian
from l2l_cli.tasks.base import Episode, Task, softmax_cross_entropy
from l2l_cli.tasks.own_data import Divided, Division, OwnExamples, read

Kind = Literal["classes", "numbers", "own"]
"""Kinds of losses: the cross-entropy of classes, the squared error of numbers, or the user's own loss."""


class _Meaning(NamedTuple):
    """The kind of the loss, the targets in the form that it takes, and a description of it for the user."""

    kind: Kind
    targets: Tensor
    said: str


class ModuleEpisode(Episode):
    """E sequences of minibatches of a phase's examples, each sequence in its own order."""

    def __init__(self, task: ModuleTask, shares: dict[Split, Tensor], episodes: int, seed: int) -> None:
        self._task, self._shares, self._episodes, self._seed = task, shares, episodes, seed

    def batch(self, step: int, split: Split = Split.TRAIN) -> Batch:
        """Draw N examples for each sequence."""
        shape = self._episodes, self._task.spec.examples
        rows = self._shares[split]
        rng = generator(derive(self._seed, split, step))
        chosen = rows[torch.randint(len(rows), shape, generator=rng, device="cpu").to(rows.device)]
        device = torch.get_default_device()
        inputs, targets = (value[chosen.to(value.device)].to(device) for value in self._task.examples)
        return Batch(inputs, targets)


class ModuleTask(Task):
    """The user's network, fitted to the user's data, one random minibatch per step.

    Buffers, dropout, batch normalisation, recurrent layers and frozen parts are treated as in ``models.model.Model``;
    what cannot be fitted is refused, with advice.  The network is called in the mode, training or evaluation, in which
    it is made, with one tensor of inputs, whose examples lie along the first axis.

    Each phase of meta-learning has its own examples: six tenths for meta-training, two for the test and one each for
    validation and tuning, drawn at random but the same each time; within a phase a fifth is held out.  Neither the
    data nor the initial values of ``start="fixed"`` depend on the seed of a run.

    Args:
        model: Class of the network, or a function that returns a network; it is called without arguments.
        data: Data; see ``own_data.FORMS``.
        loss: Function (outputs, targets) -> loss of one batch, a number; None is the cross-entropy where the targets
            are whole numbers, and the squared error otherwise.
        examples: Number N of examples in a minibatch.
        horizon: Number of steps in an episode.
        start: Initial values of the parameters: "drawn" makes the network anew for each episode, "fixed" begins all
            episodes at the same values, such as those of a network trained before.
        division: Way in which phases share the examples: "phases" gives each its own, "shared" gives all the same.

    Raises:
        ValueError: A number is out of range.
        UsageError: The network cannot be fitted, the data are of an unknown form, or the two do not fit each other.
    """

    def __init__(
        self,
        model: Reference,
        data: Reference,
        loss: Reference | None = None,
        examples: int = 32,
        horizon: int = 100,
        start: Literal["drawn", "fixed"] = "drawn",
        division: Division = "phases",
    ) -> None:
        if examples < 1 or horizon < 1:
            raise ValueError(f"examples and horizon must be at least 1, not {examples} and {horizon}")
        if start not in ("drawn", "fixed") or division not in ("phases", "shared"):
            raise ValueError(f"start must be drawn or fixed, division phases or shared, not {start!r} and {division!r}")
        self.horizon, self._own = horizon, loss
        module = _module_of(model, 0)
        self.model = Model(module, _Anew(model, module) if start == "drawn" and trained(module) else None)
        with Draws(0, "module", "data"):
            found = read(data.name, data.found, division)
        inputs = found.examples.inputs
        inputs = inputs.to(self.model.dtype) if inputs.is_floating_point() else inputs
        meaning = self._understood(data.name, OwnExamples(inputs, found.examples.targets))
        self._kind: Kind = meaning.kind
        self._divided = Divided(OwnExamples(inputs, meaning.targets), found.shares)
        self.spec = Spec(tuple(inputs.shape[1:]), tuple(meaning.targets.shape[1:]), examples)
        counts = ", ".join(f"{sum(map(len, each.values()))} {phase}" for phase, each in found.shares.items())
        shared = ", the same ones in all phases" if division == "shared" else ""
        self.told = f"the loss is {meaning.said}; {counted(len(inputs), 'example')}: {counts}{shared}"

    @property
    def examples(self) -> OwnExamples:
        """All examples, with targets in the form that the loss takes."""
        return self._divided.examples

    def fingerprint(self) -> str:
        """Return a name for the content of the data, wherever they come from."""
        return self._divided.fingerprint()

    def sample(self, episodes: int, seed: int, phase: Phase) -> ModuleEpisode:
        """Draw E sequences of minibatches."""
        return ModuleEpisode(self, self._divided.shares[phase], episodes, derive(seed, "module", phase))

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of each episode, (E,)."""
        if self._own is not None:
            pairs = zip(outputs, targets, strict=True)
            return torch.stack([_number(self._own, self._called(*pair)) for pair in pairs])
        if self._kind == "classes":
            return softmax_cross_entropy(self._last(outputs), targets)
        return mean_squared_error(outputs, targets)

    def curvature(self, outputs: Tensor, targets: Tensor, u: Tensor) -> Tensor:
        """Return the loss's Hessian with respect to the outputs, times u."""
        return output_hessian(self.loss, outputs, targets, u)

    def metrics(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """Return the accuracy, (E,), where the targets are classes."""
        if self._kind != "classes":
            return {}
        right = self._last(outputs).argmax(-1) == targets.argmax(-1)
        return {"accuracy": right.to(outputs.dtype).flatten(1).mean(1)}

    def _called(self, outputs: Tensor, targets: Tensor) -> object:
        assert self._own is not None
        assert callable(self._own.found)
        found: object = self._own.found(outputs, targets)
        return found

    def _last(self, outputs: Tensor) -> Tensor:
        """Return logits with the classes along the last axis."""
        return outputs.movedim(2, -1) if self._classes_second else outputs

    def _understood(self, name: str, examples: OwnExamples) -> _Meaning:
        """Infer the loss from the targets and from the network's outputs for some examples.

        Raises:
            UsageError: Outputs and targets do not fit each other.
        """
        inputs, targets = (value[:4].to(torch.get_default_device()) for value in examples)
        outputs = _answer(self.model, name, inputs)
        network = type(self.model.module).__name__
        self._classes_second = False
        whole = not examples.targets.is_floating_point()
        if self._own is not None:
            own = examples.targets if whole else examples.targets.to(self.model.dtype)
            loss = _number(self._own, self._called(outputs, own[: len(outputs)].to(outputs.device)))
            return _Meaning("own", own, f"{self._own.name}, {loss.item():.4g} at first")
        if whole:
            self._classes_second = _classes_are_second(outputs, targets, network)
            classes = outputs.shape[1] if self._classes_second else outputs.shape[-1]
            said = f"the cross-entropy of {classes} classes, since the targets are whole numbers"
            return _Meaning("classes", _one_hot(name, network, examples.targets, classes, self.model.dtype), said)
        if outputs[0].numel() != targets[0].numel():
            raise UsageError(
                f"{network} gives {tuple(outputs.shape[1:])} for an example, and its target is "
                f"{tuple(targets.shape[1:])}; give them one shape for the squared error, or name a loss, as in "
                "task.loss=my_net:loss"
            )
        shaped = examples.targets.reshape(-1, *outputs.shape[1:]).to(self.model.dtype)
        return _Meaning("numbers", shaped, "the mean squared error, since the targets are not whole numbers")


def _answer(model: Model, name: str, inputs: Tensor) -> Tensor:
    """Return the network's outputs (N, ...) for some examples.

    Raises:
        UsageError: The network cannot take the examples.
    """
    params = model.init(1, generator(0))
    try:
        with torch.no_grad(), Draws(0, "module", "answer"):
            return model(params, inputs[None])[0]
    except UsageError:
        raise
    except Exception as error:  # a user's network may raise anything
        whole = "; inputs are whole numbers: if they are not indices, make the data floats" * (
            not inputs.is_floating_point()
        )
        raise UsageError(
            f"{type(model.module).__name__} cannot take inputs of {name}, {tuple(inputs.shape)} of {inputs.dtype}: "
            f"{type(error).__name__}: {error}{whole}"
        ) from error


def _module_of(model: Reference, seed: int) -> nn.Module:
    """Make the network, whose random numbers come from a seed.

    Raises:
        UsageError: It is not a network, or takes arguments.
    """
    if isinstance(model.found, nn.Module) or not callable(model.found):
        raise UsageError(
            f"{model.name} is a {type(model.found).__name__}; name a class of nn.Module, or a function that returns a "
            "network, so that each episode can have its own"
        )
    try:
        with Draws(seed, "module", "network"):
            made: object = model.found()
    except TypeError as error:
        raise UsageError(
            f"{model.name} must make the network without arguments ({error}); name a function that passes them to it"
        ) from error
    if not isinstance(made, nn.Module):
        raise UsageError(f"{model.name} returns a {type(made).__name__}, and must return an nn.Module")
    return made


class _Anew:
    """Draws θ₀ by the network's own initialisation: one network is made for each episode.

    Args:
        model: Class or function that makes the network.
        module: Network that it made.
    """

    def __init__(self, model: Reference, module: nn.Module) -> None:
        self._model, self._names = model, [*trained(module)]
        self._drawn: dict[str, list[Tensor]] = {}

    def __call__(self, name: str, shape: tuple[int, ...], rng: Generator) -> Tensor:
        """Return values (E, ...) of a parameter; the call for the network's first parameter draws all of them."""
        if name == self._names[0]:
            seeds = integers((shape[0],), 2**31, rng).tolist()
            made = [trained(_module_of(self._model, seed)) for seed in seeds]
            self._drawn = {key: [one[key].detach() for one in made] for key in self._names}
        return torch.stack(self._drawn.pop(name))


def _number(loss: Reference, found: object) -> Tensor:
    """Return a loss of one batch, ().

    Raises:
        UsageError: It is not a number.
    """
    if not isinstance(found, Tensor) or found.numel() != 1:
        shape = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
        raise UsageError(
            f"{loss.name} must return one number for outputs and targets of a batch, not {shape}; take the mean"
        )
    return found.reshape(())


def _classes_are_second(outputs: Tensor, targets: Tensor, network: str) -> bool:
    """Return whether logits (N, C, ...) or (N, ..., C) have their classes along the second axis, as in torch's losses.

    Raises:
        UsageError: Neither fits the targets (N, ...).
    """
    if outputs.shape[:-1] == targets.shape and outputs.shape[-1] > 1:
        return False
    if outputs.dim() > 2 and outputs.shape[:1] + outputs.shape[2:] == targets.shape and outputs.shape[1] > 1:
        return True
    raise UsageError(
        f"{network} gives {tuple(outputs.shape[1:])} for an example, and its target is whole numbers of shape "
        f"{tuple(targets.shape[1:])}; the cross-entropy takes one output per class, for two or more; give those, or "
        "targets that are floats for the squared error, or name a loss, as in task.loss=my_net:loss"
    )


def _one_hot(name: str, network: str, targets: Tensor, classes: int, dtype: torch.dtype) -> Tensor:
    """Return classes as one-hot targets.

    Raises:
        UsageError: There are classes that the network has no output for.
    """
    low, high = int(targets.min()), int(targets.max())
    if low < 0 or high >= classes:
        raise UsageError(f"{name} has classes {low} … {high}, but {network} has outputs for 0 … {classes - 1}")
    return functional.one_hot(targets.long(), classes).to(dtype)
