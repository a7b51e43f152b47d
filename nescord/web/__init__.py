"""The status page of a running service, and what machines ask it: /healthz, /readyz and /metrics.

A process of its own beside the others, small, read-only and without a framework: `python -m nescord.web FD` answers on
a listening socket that it was handed. It says how the services are to anybody, and how the knowledge base is to whoever
has NESCORD_STATUS_TOKEN.
"""
