"""The demo: sends, waits, compares, and reports."""
