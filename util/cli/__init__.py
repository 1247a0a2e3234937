"""The command lines of ``sample.py`` and ``evaluate.py``."""
