"""The Prefect flows. They orchestrate; what is done is a verb of `nescord`, which knows nothing of Prefect."""
