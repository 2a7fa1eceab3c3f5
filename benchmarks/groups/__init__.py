"""The other groups: each has a `run(options, stage)`."""
