"""KPI marts: a day's figures, recomputed from the facts when one of them changed."""
