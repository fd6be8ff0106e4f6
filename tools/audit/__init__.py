"""What an application does that App Engine would refuse, or that does not work there."""
