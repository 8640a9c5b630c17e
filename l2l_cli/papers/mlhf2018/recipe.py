"""The measurements of a contender: a meta-trained MLHF at several learning rates, all others in one variant.

Deviation: the paper compares with the coordinatewise LSTM on a perceptron in a supplement that could not be had, and
leaves recurrent networks and data parallelism to future work; networks, lengths and rivals there are ours.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial

from l2l_cli.evaluation.contest import Entry, Problem
from l2l_cli.papers.base import Paper, Subject
from l2l_cli.papers.mlhf2018.contents import CONTENTS, HEADLINE
from l2l_cli.papers.mlhf2018.track import follow, mlhf_of
from l2l_cli.results.metrics import Metric
from l2l_cli.runs.tuning import tunable

AT_ONE, AT_RATIO, TUNED = "lr 1", "batch ratio", "lr tuned"
"""The paper's learning rate, that of its second version (a batch's size ÷ that of meta-training), and a tuned one."""

RATE = "learner.rule.lr"

WORTH = "updates"
"""Key of a row's ``x``: how many updates with the usual batch take as many samples as one of its own."""


@dataclass(frozen=True)
class Mlhf2018(Paper):
    """Boyu Chen and Wenlian Lu's Hessian-free steps with learned damping and preconditioner.

    No number could be read off the paper's figures, so ours are not compared with published ones.

    Deviation: every hand-made rule, and MLHF's learning rate, is tuned by the same number of settings; the paper fixed
    most of them, added weight decay to the baselines' loss, and did not tune MLHF.

    Deviation: meta-training and the runs that are reported fit different images, three fifths and two fifths of the
    training set, as in the authors' release of September 2018; their first release used the same for both.

    Deviation: at scale short the convolutional network has 12 378 parameters in place of 1 756 426 (channels 8 and 16,
    one dense layer of 32 units, pixels averaged in squares of 2 × 2), it fits 10 000 images, and a run has hundreds of
    steps; all mechanisms are kept.

    Deviation: at scale short the small residual network has channels 8 and 16 and one block a stage, on pixels averaged
    in squares of 2 × 2, and the larger one channels 8, 16 and 32 on all pixels of CIFAR-10; ImageNet is left to scale
    paper.

    Deviation: held-out images are normalised with the statistics of their own minibatch, as training images are.

    Attributes:
        near_exact: Whether systems that are diagnosed are also solved nearly exactly.
    """

    title = "Meta-learning with Hessian-free approach in deep neural nets training: a reproduction"
    citation = (
        "Boyu Chen and Wenlian Lu: Meta-learning with Hessian-free approach in deep neural nets training.  2018, "
        "arXiv 1805.08462, first version; the learning rate called batch ratio is that of the second version, which "
        "has Ernest Fokoue as its third author."
    )
    contents = CONTENTS
    headline = HEADLINE

    near_exact: bool = False

    def measure(self, subject: Subject) -> Iterator[Metric]:
        """Yield how a learner was tuned and what it does on every problem, in every variant.

        Every contender and every seed of it meets the same test episodes, so comparisons are paired over episodes.
        Updates are counted in units of the usual batch, so that curves against updates are curves against samples.
        """
        worth = int(subject.row.x.get(WORTH, 1))
        for variant, (_, problem, learner, tuning, *_) in variants_of(subject):
            yield from subject.tuning(tuning, problem.name, variant)
            row = partial(Metric, subject.name, subject.seed, problem=problem.name, variant=variant)
            rows = follow(learner, problem, row, self.near_exact, subject.scoring)
            yield from (one._replace(step=worth * one.step) for one in rows)


def variants_of(subject: Subject) -> Iterator[tuple[str, Entry]]:
    """Yield a row's learner on every problem, by variant.

    A hand-made rule is tuned for each problem; a meta-trained MLHF is run at the learning rate of its training and, if
    its learning rate is to be tuned, also at the batch ratio and at the tuned one.
    """
    if mlhf_of(subject.learner) is None:
        yield from (("", entry) for entry in subject.entries())
    else:
        for problem in subject.problems():
            yield from _at_rates(subject, problem)


def _at_rates(subject: Subject, problem: Problem) -> Iterator[tuple[str, Entry]]:
    yield AT_ONE, subject.contender().enter(problem)
    settings, points = subject.settings, tunable(subject.settings)
    if points == [{}]:
        return
    tuned = subject.contender(tuned=True).enter(problem)
    if len(points) == 1:  # one rate was asked for, so none is tuned
        yield f"lr {float(points[0][RATE]):g}", tuned
        return
    ratio = problem.task.spec.examples / subject.task.spec.examples
    if ratio != 1:
        fixed = replace(settings, tune=replace(settings.tune, grid={RATE: [ratio]}, ranges={}, choices={}))
        yield AT_RATIO, replace(subject, settings=fixed).contender(tuned=True).enter(problem)
    yield TUNED, tuned
