"""The operations of the differential test, and the two worlds that they are done in."""
