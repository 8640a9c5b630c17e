"""θ ← θ − lr · sign g."""

from l2l_cli.optimizers.base import FirstOrder
from l2l_cli.optimizers.sgd import Empty


class SignDescent(FirstOrder[Empty]):
    def __init__(self, lr: float = 0.01):
        super().__init__()
        self.lr = lr

    def init(self, params):
        return Empty()

    def update(self, grad, memory):
        return {name: -self.lr * value.sign() for name, value in grad.items()}, memory
