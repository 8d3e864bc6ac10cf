"""The simulation: curves, fleets, tables, queues and costs. Pure."""
