"""Counts every accepted event exactly once: sessions, counters, alerts, the archive."""
