"""The Discord bot: a thin shell over the knowledge base. It imports discord.py and nescord, and nothing of Prefect."""

import warnings

# discord.py imports it for voice, which we have no use for.
warnings.filterwarnings("ignore", "'audioop' is deprecated", DeprecationWarning, r"discord\.player")
