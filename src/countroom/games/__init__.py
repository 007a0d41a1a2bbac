"""What is played: providers, catalogue, sessions, and the dialects in which providers call."""
