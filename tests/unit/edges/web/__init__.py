"""The web side of the gateway, without a network."""
