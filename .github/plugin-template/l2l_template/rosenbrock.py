"""Rosenbrock's valley: minimise (1 − a)² + c (b − a²)² over θ = (a, b), for a drawn c."""

import torch
from torch import nn

from l2l_cli.core.random import generator, uniform
from l2l_cli.core.types import Batch, Spec, Split
from l2l_cli.models.model import Model, gaussian
from l2l_cli.tasks.base import Episode, Task, mean_squared_error


class Valley(nn.Module):
    def __init__(self):
        super().__init__()
        self.theta = nn.Parameter(torch.zeros(2))

    def forward(self, curvature):  # (N,) -> residuals (N, 2)
        a, b = self.theta
        return torch.stack([(1 - a).expand_as(curvature), curvature.sqrt() * (b - a * a)], -1)


class Problems(Episode):
    def __init__(self, curvature):
        self.data = Batch(curvature, curvature.new_zeros(*curvature.shape, 2))

    def batch(self, step, split=Split.TRAIN):
        return self.data


class Rosenbrock(Task):
    def __init__(self, horizon: int = 50, steepest: float = 10.0):
        self.horizon, self.steepest = horizon, steepest
        self.model, self.spec = Model(Valley(), gaussian(0.5)), Spec(inputs=(), targets=(2,), examples=1)

    def sample(self, episodes, seed, phase):
        return Problems(uniform((episodes, 1), 1.0, self.steepest, generator(seed, "rosenbrock", phase)))

    def loss(self, outputs, targets):
        return mean_squared_error(outputs, targets)
