"""SQLite, the truth: the schema, the connections and every SQL statement, one file per aggregate.

The live database is opened by APSW and by nothing else in a process: a second SQLite library that closes the file
drops the first one's POSIX locks, and an acknowledged COMMIT was gone without an error.
"""
