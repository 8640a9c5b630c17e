"""Every table, figure and numbered claim of Bosc 2016."""

from l2l_cli.papers.base import Content

CONTENTS = (
    Content("The table: test cross-entropy over 500 data sets; claims 1 and 2", ["table"]),
    Content("The figure: weights and test loss while one data set is learned", ["figure"]),
    Content("Claims 3 to 5: both layers move, updates vanish, some weights are static", ["moves"]),
    Content("Claims 6 and 7: J_all and J_test, the order of events", ["variants"]),
)
