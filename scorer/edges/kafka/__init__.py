"""Apache Kafka through librdkafka: the only place that imports confluent_kafka's clients."""
