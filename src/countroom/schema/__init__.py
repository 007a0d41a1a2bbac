"""The PostgreSQL schema: numbered migrations, and what they result in, generated."""
