"""Chen and Lu 2018 (MLHF): Figures 1 to 3, and what goes beyond them.

Source: "Meta-learning with Hessian-free approach in deep neural nets training", arXiv 1805.08462.
"""
