"""The groups of commands that every service has."""
