"""Maps from gradients to the input features of a learned rule.

Source: Andrychowicz et al. 2016, appendix A.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from l2l_cli.kernels.weights import Mode, Presentation
from l2l_cli.optimizers.base import fraction, positive


class Preprocess(nn.Module, ABC):
    """A map from each gradient coordinate to ``width`` features.

    Attributes:
        width: Number of features of a coordinate.
        presentation: Form in which kernels compute the features; ``GIVEN`` leaves them to this class.
    """

    width: int
    presentation: Presentation = Presentation(Mode.GIVEN, 0.0)

    @abstractmethod
    def forward(self, grad: Tensor) -> Tensor:
        """Map gradients (C,) to features (width, C)."""

    def begin(self, like: Tensor) -> Any:
        """Return the memory of past gradients before the first one, for coordinates (C,) like ``like``."""
        del like
        return ()

    def show(self, grad: Tensor, seen: Any) -> tuple[Tensor, Any]:
        """Map gradients (C,) and the memory to features (width, C) and the next memory."""
        return self(grad), seen


class Identity(Preprocess):
    """The gradient itself, times a constant; the paper uses it for quadratics, with scale 1."""

    width = 1

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        positive(scale=scale)
        self.scale = scale
        if type(self) is Identity:  # kernels do not know what a subclass computes
            self.presentation = Presentation(Mode.IDENTITY, scale)

    def forward(self, grad: Tensor) -> Tensor:
        """Return (1, C)."""
        return self.scale * grad.unsqueeze(0)


class Squash(Identity):
    """The tanh of a number times a constant, which is 1 in the code of Chen and Lu 2018."""

    def forward(self, grad: Tensor) -> Tensor:
        """Return (1, C)."""
        return super().forward(grad).tanh()


class LogAndSign(Preprocess):
    """(log|g| / p, sign g) for |g| ≥ e^−p, else (−1, e^p · g); the paper's p = 10."""

    width = 2

    def __init__(self, p: float = 10.0) -> None:
        super().__init__()
        positive(p=p)
        self.p = p
        if type(self) is LogAndSign and p <= 80:  # e^−80 is a normal number
            self.presentation = Presentation(Mode.LOG_AND_SIGN, p)

    def forward(self, grad: Tensor) -> Tensor:
        """Return (2, C)."""
        size = grad.abs()
        large = size >= torch.exp(grad.new_tensor(-self.p))
        # The clamp keeps the branch that is not chosen finite: where() multiplies its gradient by 0, and 0 · ∞ is NaN.
        magnitude = torch.where(large, size.clamp(min=torch.finfo(grad.dtype).tiny).log() / self.p, -1.0)
        direction = torch.where(large, grad.sign(), torch.exp(grad.new_tensor(self.p)) * grad)
        return torch.stack([magnitude, direction])


class ClippedLogAndSign(Preprocess):
    """max(log(|g| + ε) / k, −1) and clip(e^k · g, −1, 1), without a branch; ε is the number type's epsilon.

    This is the form of the authors' code, with its k = 5.  The branches of ``LogAndSign`` meet at e^−p, so that with
    p = k the two differ by ε alone, at most by ε · e^k / k.
    """

    width = 2

    def __init__(self, k: float = 5.0) -> None:
        super().__init__()
        positive(k=k)
        self.k = k

    def forward(self, grad: Tensor) -> Tensor:
        """Return (2, C)."""
        magnitude = (grad.abs() + torch.finfo(grad.dtype).eps).log() / self.k
        direction = torch.exp(grad.new_tensor(self.k)) * grad
        return torch.stack([magnitude.clamp(min=-1.0), direction.clamp(-1.0, 1.0)])


class Seen(NamedTuple):
    """Decayed means of gradients (K, C), one row per decay, and of their squares (C,), and the steps so far ()."""

    first: Tensor
    second: Tensor
    steps: Tensor


class Momenta(Preprocess):
    """``LogAndSign``, and gradient and momenta in units of their root mean square: g / √v̂ and m̂ / √v̂.

    v̂ and the m̂, one for each decay, are bias-corrected as in Adam, whose step is −lr · m̂ / √v̂; so a rule need not
    spend its few cells on scales and averages over time.

    Source: Lv, Jiang and Li 2017, "Learning gradient descent: better generalization and longer horizons", eq. 3, for
    m̂ / √v̂ and g / √v̂; Metz et al. 2019, "Understanding and correcting pathologies in the training of learned
    optimizers", for several decays.

    Args:
        decays: Decays of the momenta.
        square: Decay of v.
        p: Constant p of ``LogAndSign``.
        epsilon: Number that is added to √v̂.
    """

    def __init__(
        self, decays: Sequence[float] = (0.5, 0.9, 0.95), square: float = 0.95, p: float = 10.0, epsilon: float = 1e-8
    ) -> None:
        super().__init__()
        fraction(square=square, **{f"decays[{index}]": decay for index, decay in enumerate(decays)})
        positive(epsilon=epsilon)
        self.square, self.epsilon = square, epsilon
        self.sizes = LogAndSign(p)
        self.width = 3 + len(decays)
        self.decays = tuple(decays)

    def begin(self, like: Tensor) -> Seen:
        """Start from zero moments."""
        steps = torch.zeros((), dtype=torch.float64, device="cpu")  # reading it does not wait for a GPU
        return Seen(like.new_zeros(len(self.decays), len(like)), torch.zeros_like(like), steps)

    def forward(self, grad: Tensor) -> Tensor:
        """Return the features of a first gradient, (width, C)."""
        return self.show(grad, self.begin(grad))[0]

    def show(self, grad: Tensor, seen: Seen) -> tuple[Tensor, Seen]:
        """Return the features, (width, C), and the moments updated with this gradient."""
        decays = grad.new_tensor(self.decays)[:, None]
        steps = seen.steps + 1
        first = decays * seen.first + (1.0 - decays) * grad
        second = self.square * seen.second + (1.0 - self.square) * grad.square()
        size = (second / (1.0 - self.square ** steps.item())).sqrt() + self.epsilon
        momenta = first / (1.0 - decays ** steps.item())
        features = torch.cat([grad[None] / size, momenta / size, self.sizes(grad)])
        return features, Seen(first, second, steps)
