"""Memory outside NumPy's arrays, for kernels that read tensors wherever they lie."""

from __future__ import annotations

from collections.abc import Sequence

from llvmlite import ir
from numba import types

from l2l_cli.kernels.simd.registers import Context, Intrinsic, NumbaType, intrinsic


@intrinsic
def pointer_to(typing: Context, like: NumbaType, address: NumbaType) -> Intrinsic:
    """Return an address in memory as a pointer to numbers of an array's type."""

    def code(context: Context, builder: ir.IRBuilder, signature: NumbaType, args: Sequence[ir.Value]) -> ir.Value:
        return builder.inttoptr(args[1], context.get_value_type(signature.return_type))

    kind = types.CPointer(like.dtype)  # type: ignore[no-untyped-call]
    return kind(like, types.int64), code
