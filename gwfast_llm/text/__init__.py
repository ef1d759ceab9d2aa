"""Text and tokens: tokenizers and their bytes, alignment, templates, conversations, rows, packing."""
