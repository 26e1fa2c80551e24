"""Tests that need no process, no network and no file outside the tree."""
