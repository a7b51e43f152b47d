"""Python imports this by itself at its start in every process whose PYTHONPATH holds this folder."""

import offline

offline.install()
