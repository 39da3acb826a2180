import math

from prepare import LETTERS, batches, evaluate_bpb

LEARNING_RATE = 0.02

weights = [[0.0] * len(LETTERS) for _ in LETTERS]


def probabilities(old):
    powers = [math.exp(weight) for weight in weights[old]]
    return [power / sum(powers) for power in powers]


for old, new in batches():
    for letter, probability in enumerate(probabilities(old)):
        weights[old][letter] += LEARNING_RATE * ((letter == new) - probability)

print("---")
print(f"val_bpb:          {evaluate_bpb(probabilities):.6f}")
print(f"num_params:       {len(LETTERS) ** 2}")
