"""Where notes come from; one file per kind of source."""
