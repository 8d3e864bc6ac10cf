"""The processors, one file each. `session_worker.processor.discover()` finds them."""
