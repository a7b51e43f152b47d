"""What every call to a model elsewhere needs, once: its pace, its retries, its budget, and a breaker for outages."""
