"""Which composite indexes the queries of real runs need, beside those that index.yaml has."""
