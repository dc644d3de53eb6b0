"""Parts of `scripts/benchmark.py`: how fast a sync is, beside what a user would pick instead, measured in one run."""
