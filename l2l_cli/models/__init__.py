"""Networks that tasks fit, and points on their loss surfaces."""
