"""Pages: one file each, nothing loaded from elsewhere, on a light and a dark screen, on a phone and on paper.

Templates are Jinja's, which escapes whatever it is given; paragraphs are Markdown, without HTML and without images.
"""
