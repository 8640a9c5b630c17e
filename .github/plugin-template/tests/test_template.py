"""The classes do what l2l asks of their kinds, and the commands find them."""

import subprocess
import sys

from l2l_template.rosenbrock import Rosenbrock
from l2l_template.sign_descent import SignDescent

from l2l_cli.learners.descent import Descent
from l2l_cli.tasks.quadratic import Quadratic
from l2l_cli.testing import check_learner, check_task

L2L = [sys.executable, "-m", "l2l_cli"]


def test_the_task_is_one():
    check_task(Rosenbrock())


def test_the_rule_is_one():
    check_learner(Descent(Quadratic(), SignDescent()))


def test_commands_find_both(tmp_path):
    words = ["compare", "task=rosenbrock", "sign_descent", "sgd"]
    small = ["evaluation.episodes=8", "tune.episodes=4", "tune.budget=2"]
    done = subprocess.run([*L2L, *words, *small], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "sign_descent" in done.stdout


def test_the_paper_is_listed_and_runs(tmp_path):
    listed = subprocess.run([*L2L, "reproduce", "--list"], capture_output=True, text=True, check=True).stdout
    assert "polyak1964" in listed
    words = ["reproduce", "polyak1964", "--scale", "smoke"]
    done = subprocess.run([*L2L, *words], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
