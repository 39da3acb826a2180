import json
import os
import urllib.request
from pathlib import Path

prompt = Path("prompt.md").read_text().splitlines()[-1]
rows = [json.loads(line) for line in Path("examples.jsonl").read_text().splitlines()]
right = 0
for row in rows:
    text = f"{prompt}\n{row['text']}"
    body = json.dumps({"messages": [{"role": "user", "content": text}]}).encode()
    request = urllib.request.Request(f"{os.environ['MODEL_URL']}/chat/completions", body)
    with urllib.request.urlopen(request) as response:
        answer = json.load(response)["choices"][0]["message"]["content"]
    right += answer == row["label"]
print(f"accuracy: {right / len(rows):.3f}")
