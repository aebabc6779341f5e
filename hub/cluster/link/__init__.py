"""One link between two nodes: frames, the calls that they carry, and the connection below them."""
