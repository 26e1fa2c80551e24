"""One file per outside neighbour; the only place that may import its client library."""
