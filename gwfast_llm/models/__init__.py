"""Language models as such: loading, checks, the output layer, the largest logits."""
