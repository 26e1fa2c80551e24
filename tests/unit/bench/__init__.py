"""Tests of bench, file for file."""
