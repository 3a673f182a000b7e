"""What is true. The only place with SQL; knows nothing of the bot."""
