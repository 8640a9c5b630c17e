"""Andrychowicz et al. 2016: Figures 4 to 7 and 10, and what goes beyond them.

Source: "Learning to learn by gradient descent by gradient descent", NIPS 2016, arXiv 1606.04474.
"""
