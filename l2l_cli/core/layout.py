"""Names of the folders that commands write: those in an output folder, and those within a run's folder."""

from __future__ import annotations

OUTPUTS = "outputs"
"""Folder of all results, unless another one is given."""

META_TRAIN = "meta-train"
"""Subfolder of an output folder for the runs of ``l2l meta-train``."""

SWEEPS = "multirun"
"""Subfolder of an output folder for sweeps."""

STORE = "store"
"""Subfolder of an output folder for scores and trials, unless ``store.dir`` names another folder."""

CLUSTER = "cluster"
"""Subfolder for jobs of a cluster: of an output folder or, for ``l2l reproduce``, of the report's."""

FIGURES = "figures"
"""Subfolder of a run or a report for its figures."""

ROWS = "rows"
"""Subfolder of a report for what was measured of each of its rows."""

PROGRESS = "progress"
"""Subfolder of a run or a report in which its pieces of work report their progress."""

WITHIN_A_RUN = (FIGURES, ROWS, PROGRESS, CLUSTER)
"""All subfolders that a run or a report may have."""
