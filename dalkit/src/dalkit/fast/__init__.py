"""Statements compiled once and run on asyncpg itself."""
