"""What requests call, how long that takes and what it costs: recorded by `gaeport.wrap`, shown at /_ah/stats."""
