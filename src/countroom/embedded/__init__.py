"""PostgreSQL, Valkey and ClickHouse's engine, started where nobody runs them.

One URL in the settings replaces each by a real server; nothing else in the code knows that a
store is embedded. See docs/embedded.md.
"""
