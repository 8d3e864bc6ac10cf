"""What Kinstream costs, each number against a peer in the same run: `make bench`, `python -m benchmarks`.

Ratios of CPU time (user and system) rather than wall time, medians of interleaved rounds, so that a busy
machine disturbs both sides alike. A missed number is shown as measured.
"""
