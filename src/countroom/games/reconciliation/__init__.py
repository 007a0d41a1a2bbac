"""A provider's daily report against our books: read, compared, kept, and looked at."""
