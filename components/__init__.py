"""Rungway's Pulumi components, one a file; `python -m components` serves them to programs in any Pulumi language."""
