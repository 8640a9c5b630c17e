"""Bosc 2016: its table, its figure and its claims, and what goes beyond them.

Source: "Learning to Learn Neural Networks", arXiv 1610.06072.
"""
