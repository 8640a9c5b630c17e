"""YAML files that l2l finds by the entry points of pyproject.toml."""
