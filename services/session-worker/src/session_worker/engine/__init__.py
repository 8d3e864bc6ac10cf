"""Carries out what processors decide: exactly once, through one transaction a group."""
