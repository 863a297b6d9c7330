"""Where the application keeps what must outlive a node: SQLite in a file, or PostgreSQL."""
