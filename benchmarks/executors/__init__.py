"""The parts of ``bench.py``: executors, measures and reports."""
