"""Money that crosses the border: deposits through payment providers, and their webhooks."""
