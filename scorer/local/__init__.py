"""A whole surrounding on one machine: real Kafka and a registry without Docker, sample events, the demo."""
