"""Facts at rest: ClickHouse's tables, how messages get there, and the proof that they did."""
