"""Programs that run inside boxes, beside candidate code. Nobody imports them."""
