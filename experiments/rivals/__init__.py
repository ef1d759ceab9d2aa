"""Published objectives for foreign tokenizers beside path-KL, and the tail of a target."""
