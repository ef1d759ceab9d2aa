"""The embedded default: small tasks, tokenizers and models built on the spot, to see a fusion end to end."""
