"""Meta-losses, estimators of meta-gradients, and the training of φ."""
