"""What runs on one machine: events, sending, accounts."""
