"""The schema: its revision, its migrations and the typed tables written from it."""
