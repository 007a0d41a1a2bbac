"""Facts leaving PostgreSQL: the message contract, and the committed log that messages are read from."""
