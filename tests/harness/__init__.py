"""Real neighbours for tests: fixtures that start Kafka and a registry once for a whole run.

They come in as a plugin, `pytest_plugins = ["tests.harness.kafka"]` in the outermost conftest.py, so that a session's
fixture is one for all modules. Nothing is started until a test asks for it.
"""
