"""Products with a Gauss-Newton matrix in curvlinops: its ``GGNLinearOperator``, built once and used again and again."""

from __future__ import annotations

import torch
from curvlinops import GGNLinearOperator
from torch import nn

from tests.bench.peers.problem import Array, Product
from tests.bench.peers.protocol import serve


class Curvlinops:
    """One operator and one vector."""

    def __init__(self, product: Product) -> None:
        torch.set_num_threads(1)
        hidden, inputs = product.theta[0].shape
        network = nn.Sequential(nn.Linear(inputs, hidden), nn.Sigmoid(), nn.Linear(hidden, len(product.theta[3])))
        with torch.no_grad():
            for value, given in zip(network.parameters(), product.theta, strict=True):
                value.copy_(torch.from_numpy(given))
        self.v = [torch.from_numpy(value) for value in product.v]
        data = [(torch.from_numpy(product.inputs), torch.from_numpy(product.targets))]
        self.matrix = GGNLinearOperator(
            network, nn.CrossEntropyLoss(), list(network.parameters()), data, check_deterministic=False
        )

    def gradient(self) -> tuple[float, list[Array]]:
        """Return ½·vᵀ·G·v and its gradient G·v."""
        found = self.matrix @ self.v
        half = 0.5 * sum(float((one * other).sum()) for one, other in zip(self.v, found, strict=True))
        return half, [value.numpy(force=True) for value in found]

    def meta_step(self) -> None:
        """Take one product."""
        self.matrix @ self.v


if __name__ == "__main__":
    serve(Curvlinops, Product.load)
