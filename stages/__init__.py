"""One click command for each stage of the chain: read, call the library, write."""
