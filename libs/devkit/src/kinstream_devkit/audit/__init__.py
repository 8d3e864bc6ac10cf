"""Holds what is served against what the archive says: `kinstream audit`."""
