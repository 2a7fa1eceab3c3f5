"""Resources made of tables: what is known of a table, what it is called, and what is written."""
