"""What runs in a process of its own, with the generated service on its path.

Each has a `main(*arguments)` that returns something for JSON; the rounds are inside it where the
systems share a process.
"""
