"""transformers' min-p and repetition penalty, alone and after each other, for test/model/logits-processors.test.ts.

    python test/reference/make_logits_processors.py > test/fixtures/logits-processors.json
"""
import json

import torch
import transformers
from transformers.generation.logits_process import (LogitsProcessorList, MinPLogitsWarper, RepetitionPenaltyLogitsProcessor,
                                                    TemperatureLogitsWarper, TopPLogitsWarper)

torch.manual_seed(3)
ROWS, VOCAB = 4, 48
logits = torch.randn(ROWS, VOCAB) * torch.tensor([0.3, 1.0, 3.0, 9.0])[:, None]
logits[0, :6] = logits[0].max() + 0.25  # equals at the top
input_ids = torch.randint(0, VOCAB, (ROWS, 20))

CHAINS = {
    "min_p_0.02": dict(minP=0.02), "min_p_0.3": dict(minP=0.3), "min_p_1": dict(minP=1.0),
    "repetition_1.2": dict(repetitionPenalty=1.2), "repetition_0.8": dict(repetitionPenalty=0.8),
    "repetition_1.3_t0.7_min_p_0.1": dict(repetitionPenalty=1.3, temperature=0.7, minP=0.1),
    "repetition_1.1_t1.5_p0.9_min_p_0.05": dict(repetitionPenalty=1.1, temperature=1.5, topP=0.9, minP=0.05),
}
MAKE = dict(repetitionPenalty=RepetitionPenaltyLogitsProcessor, temperature=TemperatureLogitsWarper, topP=TopPLogitsWarper, minP=MinPLogitsWarper)


def run(options):
    out = LogitsProcessorList([MAKE[name](value) for name, value in options.items()])(input_ids, logits.clone())
    return [[None if value == float("-inf") else value for value in row] for row in out.tolist()]


print(json.dumps({
    "made_by": f"transformers {transformers.__version__}, torch {torch.__version__}",
    "logits": logits.tolist(),
    "input_ids": input_ids.tolist(),
    "chains": {name: {"options": options, "logits": run(options)} for name, options in CHAINS.items()},
}))
