"""The benchmarks: the scorer and its peers on one real Kafka, with the same topics, bytes and model."""
