"""Processes killed, frozen and cut off, and an oracle that shares no code with the product."""
