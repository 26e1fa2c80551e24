"""The command line: reads settings, builds real edges, hands them to a service."""
