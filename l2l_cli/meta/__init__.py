"""Floor 3: meta-losses, meta-gradients and the meta-training loop."""
