"""The plain truth that results are compared with; it shares no code with what it checks."""
