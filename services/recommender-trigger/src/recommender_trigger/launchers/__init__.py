"""Where Spark runs. One file a launcher, each with the protocol of `base`."""
