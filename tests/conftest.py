"""What every test can ask for."""

pytest_plugins = ["tests.harness.kafka", "tests.harness.secure_kafka", "tests.harness.postgres", "tests.faults.plugin"]
