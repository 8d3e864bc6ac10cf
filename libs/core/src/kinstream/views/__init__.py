"""Pure views over what the ledger holds. Nothing in here does I/O or reads a clock."""
