"""What is between HTTP and the data: transactions, problems, middleware, health."""
