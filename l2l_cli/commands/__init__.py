"""The five commands, and how evaluate and compare show their results."""
