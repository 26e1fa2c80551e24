"""Tests of scorer/edges, file for file."""
