"""A seeded world of families, their events and their media."""
