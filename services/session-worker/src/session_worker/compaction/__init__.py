"""Merges the archive's small files, by itself, beside the archive processor."""
