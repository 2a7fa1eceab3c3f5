"""What runs in a process of its own, so that none finds what another one left.

Each has a `main(*arguments)` that returns something for JSON; the rounds are inside it where the
systems share a process.
"""
