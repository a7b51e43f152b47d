"""LangChain as in `langchain_index`, with CacheBackedEmbeddings: as its page "Caching embeddings" says to.

For readers who would have combined the two pages: a text once embedded is not paid for again, in whatever note it is.
"""

from benchmarks.peering.adapters.langchain_index import LangChain
from benchmarks.peering.shared import main

adapter = LangChain(cached=True)

if __name__ == "__main__":
    main(adapter)
