"""Where records outlive the process: SQLite or PostgreSQL behind one writer, or memory for tests."""
