"""The processes that people run: loops, signals and wiring over ports that are handed in."""
