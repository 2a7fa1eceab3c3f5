"""The systems that are compared: each file is one service with the same three routes."""
