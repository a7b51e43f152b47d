"""The knowledge base for agents: a server that speaks the Model Context Protocol over stdin and stdout.

An agent hands what it reads to a model, mostly one elsewhere, and does what that model says. So it sees the spaces that
its owner has named and no other (view.py), gets notes as quoted data (quoting.py), without secrets where those are
masked, and changes nothing unless its owner allows captures.
"""
