"""Tests of scorer/services, file for file."""
