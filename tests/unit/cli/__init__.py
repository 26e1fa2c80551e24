"""The command line: settings, their layers, secrets, exits."""
