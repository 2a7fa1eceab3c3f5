"""How dev/postgres.py runs PostgreSQL: a supervisor process (server.py) and what it needs."""
