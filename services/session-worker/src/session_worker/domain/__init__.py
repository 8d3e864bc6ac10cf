"""What the session-worker decides. Nothing in here does I/O or reads a clock."""
