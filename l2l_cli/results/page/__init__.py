"""HTML pages in one self-contained file each, for light and dark screens, phones and paper.

Jinja's templates escape whatever they are given; paragraphs are Markdown without HTML and without images.
"""
