"""Compiled kernels, by Numba for CPUs and by Triton for GPUs; each names the reference that it must equal.

How to read a kernel
--------------------
**Register.**  ``load`` fetches consecutive numbers into a vector register, ``store`` writes one, and an operation on
registers is one instruction on ``WIDTH`` = 16 numbers of float32 (``simd.registers``).  How many numbers a register
holds must be known when a kernel is compiled.  It is an integer constant, or ``Registers``, a tuple with one zero for
each whole register that is taken at once: then ``fma(repeat(weights, k, registers), x, sum)`` is, say, four
instructions.  Kernels take many separate arguments where a NamedTuple would be copied at each inlined call.

**Lane.**  One of the independent computations that run side by side.  In ``columns`` the lanes are columns: coordinates
of a learned rule, or episodes; a register holds one activation of many columns, and all of them share the weights.  In
``seeds`` they are seeds of one training, each with its own weights: L lanes (``Lanes``, L zeros) of G = 16 / L
positions fill a register, and ``load(array, p, WIDTH, lanes)`` reads the positions p … p + G − 1 of all lanes.

**Block.**  ``BLOCK`` = 64 columns with the units of each layer as rows, (H, 64): small enough for the first-level
cache, in which one call takes a block through all layers (``columns.lstm.forward_layers``).  Threads divide the blocks.
Learners keep states as (layers, H, C), as the papers write them; ``blocks`` and ``columns.transfers`` convert them for
the kernels and back, and ``columns.coordinatewise.forward_columns`` reads and writes c in place.

**Backward.**  A tape holds the inputs and states of all steps; ``gate_gradients`` recomputes a layer's gates and turns
∂/∂h and ∂/∂c into ∂/∂gates, ``input_gradients`` carries them to the layer below and to the step before, and
``accumulate_weights`` adds their products with the sources to ∂/∂weights.  ``grad_x`` is ∂objective/∂x.
"""
