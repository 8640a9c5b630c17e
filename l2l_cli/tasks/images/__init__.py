"""Image classification: data sets, how phases divide them, and the one task that fits any network to them."""
