"""The pages of the project as one site: what is written, the API from docstrings, and where each equation stands."""
