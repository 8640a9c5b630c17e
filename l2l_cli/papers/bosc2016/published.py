"""What the paper says, and what no readable copy of it says any more.

Source: Bosc 2016, §3 and its only table.

Deviation: numbers that the paper typesets as mathematics are lost in its readable copies: the dimension, the sizes of
the learner's layers, the noise, K and T of meta-training, the learning rate, the grid of C and the number of folds.
All are ours, so a published loss says how hard the author's data sets were for a method, not what it comes to on ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

LEARNED = "weights in cell"
"""The row of the paper's learner, meta-trained by our recipe."""

LONGER = "weights in cell, five times as long"
"""The same with as many more updates."""

LOGISTIC, LINEAR_SVM, RBF_SVM = "logistic regression", "linear SVM", "RBF SVM"

GAUSSIAN_PROCESS, EPOCHS = "Gaussian process", "MLP, many epochs"

ONLINE = ("MLP, online SGD", "MLP, online Adam")
"""The same network, moved once a sample by a tuned hand-made rule."""


class Entry(NamedTuple):
    """Mean and standard deviation of the test parts' cross-entropy over 500 data sets, in nats."""

    mean: float
    sd: float


TABLE: Mapping[str, Entry] = {
    LEARNED: Entry(0.540, 0.139),
    LOGISTIC: Entry(0.574, 0.208),
    LINEAR_SVM: Entry(0.573, 0.159),
    RBF_SVM: Entry(0.507, 0.164),
}
"""Source: the paper's table; its second row bears the first one's label, and is the s.d. by the text."""

DATA_SETS = 500
"""Of the meta-test."""
