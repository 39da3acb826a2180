import os
import random
import sys
import time

sys.path.insert(0, "src")
from histogram import histogram

rng = random.Random(int(os.environ.get("SWARM_SEED", "0")))
data = bytes(rng.choices(b"etaoin shrdlu", k=100_000))
began = time.process_time()
histogram(data)
print(f"mb/s: {len(data) / 1e6 / (time.process_time() - began):.3f}")
