"""Every table, figure and numbered claim of Bosc 2016."""

from l2l_cli.papers.base import Content
from l2l_cli.papers.headline import Headline

CONTENTS = (
    Content("The table: test cross-entropy over 500 data sets; claims 1 and 2", ["table"]),
    Content("The figure: weights and test loss while one data set is learned", ["figure"]),
    Content("Claims 3 to 5: both layers move, updates vanish, some weights are static", ["moves"]),
    Content("Claims 6 and 7: J_all and J_test, the order of events", ["variants"]),
)

HEADLINE = Headline(
    question="Can a network in another network's memory cells learn a data set from one pass over it?",
    head="test cross-entropy, nats",
    lines={
        "weights in cell (the paper's)": ("table", "weights in cell", "cross_entropy"),
        "Gaussian process": ("table", "Gaussian process", "cross_entropy"),
        "RBF SVM": ("table", "RBF SVM", "cross_entropy"),
        "linear SVM": ("table", "linear SVM", "cross_entropy"),
        "logistic regression": ("table", "logistic regression", "cross_entropy"),
        "MLP, online Adam": ("table", "MLP, online Adam", "cross_entropy"),
        "prior-fitted network": ("table", "prior-fitted network", "cross_entropy"),
    },
    figure="table",
    decided_by="Claim 1, lower than logistic regression",
    about="Means over 500 data sets; lower is better.  The paper does not state its noise and dimension, so that its "
    "numbers are about other data sets than ours.  The MLP is the network whose weights the "
    "learner moves.",
)
