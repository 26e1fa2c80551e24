"""Two readers of predictions that share nothing with the scorer: what they agree on is what any subscriber gets.

`python_reader` is kafka-python with fastavro, `java_reader` is Kafka's Java consumer with Avro's Java decoder. Both
have one function, `read_all`, with the same arguments and the same answer, so a test can use either, or compare them.
"""
