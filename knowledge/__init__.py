"""What is known about mail-flow errors. Pure; knows nothing of the bot or of storage."""
