"""Floor 1: what is compiled, by Numba for processors and by Triton for GPUs, each beside the name of its reference."""
