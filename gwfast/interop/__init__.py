"""gwfast in the terms of other libraries."""
