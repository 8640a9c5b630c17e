"""Gaussian-process classification by scikit-learn."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from sklearn.gaussian_process import GaussianProcessClassifier
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, Kernel

from l2l_cli.learners.refit.base import Array, Predictor, Refit, classes_of
from l2l_cli.tasks.base import Task


class GaussianProcess(Refit):
    """P(y = 1 | x) = E[σ(f(x))], f ~ GP(0, v·exp(−|x − x′|² / 2ℓ²)); v and ℓ maximise the marginal likelihood.

    The posterior is Laplace's approximation.

    Source: Rasmussen and Williams 2006, algorithms 3.1, 3.2 and 5.1.

    Args:
        task: Task whose targets are 0 or 1.
        separate: Whether each input has its own length scale ℓ.
        iterations: Largest number of L-BFGS iterations on the marginal likelihood, from v = 1 and ℓ = √D.
        growth: Growth of the examples until the next fit, as in ``Refit``.
    """

    def __init__(self, task: Task, separate: bool = False, iterations: int = 30, growth: float | None = None) -> None:
        super().__init__(task, growth)
        if iterations < 1:
            raise ValueError(f"iterations must be at least 1, not {iterations}")
        self.separate, self.iterations = separate, iterations

    def fit(self, inputs: Array, targets: Array) -> Predictor:
        """Choose v and ℓ and find the mode of the posterior."""
        count = inputs.shape[1]
        length = np.full(count, count**0.5) if self.separate else count**0.5
        kernel = ConstantKernel(1.0, (1e-2, 1e3)) * RBF(length, (1e-1, 1e2))
        classes = classes_of(targets)
        best = self._most_likely(_with(kernel, inputs, classes), kernel)
        model = _with(kernel.clone_with_theta(best), inputs, classes)
        return lambda queries: np.asarray(model.predict_proba(queries)[:, 1])

    def _most_likely(self, model: GaussianProcessClassifier, kernel: Kernel) -> Array:
        """Return the logarithms of the (v, ℓ) with the largest marginal likelihood.

        A maximum at a bound is acceptable, since data without a signal have v = 0 or ℓ = ∞; scikit-learn's own search
        would warn about it.
        """

        def negative(theta: Array) -> tuple[float, Array]:
            value, gradient = model.log_marginal_likelihood(theta, eval_gradient=True, clone_kernel=False)
            return -value, -gradient

        options = {"maxiter": self.iterations}
        result = minimize(negative, kernel.theta, jac=True, method="L-BFGS-B", bounds=kernel.bounds, options=options)
        return np.asarray(result.x)


def _with(kernel: Kernel, inputs: Array, classes: NDArray[np.int64]) -> GaussianProcessClassifier:
    """Return the posterior process with the v and ℓ of a kernel."""
    return GaussianProcessClassifier(kernel, optimizer=None).fit(inputs, classes)
