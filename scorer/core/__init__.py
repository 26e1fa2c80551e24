"""The pure heart: batches in, batches out. No I/O, no clock, no threads, no randomness."""
