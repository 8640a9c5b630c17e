"""How a gradient is presented to a learned rule.

Source: Andrychowicz et al. 2016, appendix A.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from l2l_cli.optimizers.base import positive


class Preprocess(nn.Module, ABC):
    """Maps each gradient coordinate to ``width`` features."""

    width: int

    @abstractmethod
    def forward(self, grad: Tensor) -> Tensor:
        """Map gradients (C,) to features (width, C)."""


class Identity(Preprocess):
    """The gradient itself, times a constant; what the paper does for quadratics (scale 1)."""

    width = 1

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        positive(scale=scale)
        self.scale = scale

    def forward(self, grad: Tensor) -> Tensor:
        """Return (1, C)."""
        return self.scale * grad.unsqueeze(0)


class LogAndSign(Preprocess):
    """(log|g| / p, sign g) for |g| ≥ e^−p, else (−1, e^p · g); the paper's p = 10."""

    width = 2

    def __init__(self, p: float = 10.0) -> None:
        super().__init__()
        positive(p=p)
        self.p = p

    def forward(self, grad: Tensor) -> Tensor:
        """Return (2, C)."""
        size = grad.abs()
        large = size >= torch.exp(grad.new_tensor(-self.p))
        # The clamp keeps the branch that is not taken finite: where() multiplies its gradient by zero.
        magnitude = torch.where(large, size.clamp(min=torch.finfo(grad.dtype).tiny).log() / self.p, -1.0)
        direction = torch.where(large, grad.sign(), torch.exp(grad.new_tensor(self.p)) * grad)
        return torch.stack([magnitude, direction])


class ClippedLogAndSign(Preprocess):
    """max(log(|g| + ε) / k, −1) and clip(e^k · g, −1, 1), without a branch; ε is the number type's epsilon.

    The form of the authors' code, with its k = 5.  The branches of ``LogAndSign`` meet at e^−p, so that with p = k the
    two differ by ε alone, at most by ε · e^k / k.
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
