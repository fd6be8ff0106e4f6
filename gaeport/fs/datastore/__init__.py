"""`store = "datastore"`: a mount whose files are entities, and objects of a bucket where they are large."""
