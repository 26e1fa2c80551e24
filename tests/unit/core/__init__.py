"""Tests of scorer/core, file for file."""
