"""A stranger's module: whoever imports it has run code that a run folder or a data file named."""


class Boom:
    """A class that a hostile configuration asks for."""
