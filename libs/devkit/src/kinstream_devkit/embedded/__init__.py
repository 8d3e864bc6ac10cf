"""The embedded stack: an AWS emulator, Redis and the four services as supervised processes."""
