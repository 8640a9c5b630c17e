"""Training a recurrent network, which Chen and Lu 2018 leave to future work: an LSTM reads a picture row by row."""

from __future__ import annotations

from collections.abc import Sequence

from l2l_cli.core.types import Spec
from l2l_cli.models.model import Model
from l2l_cli.models.recurrent import row_reader, row_reader_weights
from l2l_cli.tasks.augment import Augment, Standardise
from l2l_cli.tasks.division import Division
from l2l_cli.tasks.images import Images
from l2l_cli.tasks.pictures import Size


class ImagesLSTM(Images):
    """Classification by an LSTM, which is shown one row of pixels a step, and a dense layer on its last state.

    Args:
        dataset: See ``Images``; so are the others below that are not explained.
        units: Cells of the LSTM.
        examples: Pictures of a minibatch N.
        horizon: Optimization steps of an episode (ours).
        classes: Labels that are used.
        pool: Side of the windows of pixels that are averaged.
        size: Height and width of a folder's pictures.
        division: Which pictures each phase fits to.
        images: How many training pictures are used.
        augment: Random changes of the pictures that are learned from.
        augment_test: Also of test pictures.
        standardise: The scale of the inputs.
    """

    def __init__(
        self,
        dataset: str = "digits",
        units: int = 32,
        examples: int = 128,
        horizon: int = 100,
        classes: Sequence[int] | None = None,
        pool: int = 1,
        size: Size | None = None,
        division: Division = "phases",
        images: int | None = None,
        augment: Augment = "none",
        augment_test: bool = False,
        standardise: Standardise = "none",
    ) -> None:
        super().__init__(
            dataset, examples, horizon, classes, pool, size, division, images, augment, augment_test, standardise
        )
        self.model = Model(row_reader(self.shape, units, len(self.classes)), row_reader_weights(units))
        self.spec = Spec(inputs=self.shape, targets=(len(self.classes),), examples=examples)
