"""The Discord bot: a thin shell over the knowledge base. It imports discord.py and nescord, and nothing of Prefect."""
