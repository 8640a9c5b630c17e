"""Compiled paths through many steps of an update rule, each with the reference path that it must equal."""
