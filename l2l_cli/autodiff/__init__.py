"""Automatic differentiation beyond torch's own: recorded programs, Jacobian products, layer traces."""
