"""PostgreSQL: the store of row projections, its migrations, and who waits for progress."""
