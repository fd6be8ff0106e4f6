"""`gaeport fs sync`: one directory made as another is, in a mount or on the disk."""
