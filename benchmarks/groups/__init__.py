"""The other groups: each has a `run(options, folder)`."""
