import json
import os
import random

from pack import pack

rng = random.Random(int(os.environ.get("SWARM_SEED", "0")))
values = []
for _ in range(60):
    items = [(rng.uniform(1, 10), rng.uniform(1, 10)) for _ in range(80)]
    values.append(pack(items, 60))
print(json.dumps({"value": sum(values) / len(values), "knapsacks": len(values)}))
