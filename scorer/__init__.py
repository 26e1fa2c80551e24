"""Scores Kafka events with ONNX models in micro-batches and publishes the predictions back to Kafka."""
