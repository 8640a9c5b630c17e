"""Timings; run by ``make bench``, never asserted."""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # as the command line does, before torch is loaded
