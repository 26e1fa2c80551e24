"""Tests of the scorer: unit, contract, integration and faults."""
