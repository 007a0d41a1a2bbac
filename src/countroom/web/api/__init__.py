"""The JSON API for players and staff."""
