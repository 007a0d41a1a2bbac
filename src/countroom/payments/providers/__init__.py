"""Payment providers, one file each: asking for money, and telling whether a webhook is theirs."""
