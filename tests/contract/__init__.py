"""Tests of what the tree promises as a whole: its structure and its files."""
