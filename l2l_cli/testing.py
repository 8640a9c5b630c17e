"""Contract checks for your own classes, to be called in their tests.

    from l2l_cli.learners.descent import Descent
    from l2l_cli.tasks.quadratic import Quadratic
    from l2l_cli.testing import check_learner, check_task

    def test_my_classes():
        check_task(Rosenbrock())
        check_learner(Descent(Quadratic(), SignDescent()))

Classes outside of this program that a command builds from a ``_target_`` must pass the same checks before anything is
trained or scored.
"""

from l2l_cli.meta.contracts.learners import check_learner
from l2l_cli.meta.contracts.refusal import ContractError
from l2l_cli.meta.contracts.rules import check_optimizer
from l2l_cli.meta.contracts.tasks import check_task

__all__ = ["ContractError", "check_learner", "check_optimizer", "check_task"]
