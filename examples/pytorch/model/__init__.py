"""A hybrid model (Qwen3-Next, Qwen3.5) that runs steps of an engine: many requests at once, each somewhere else
in its text.

folder.py            a checkpoint folder, opened by transformers; files.py, what lies in it
random_model.py      one of random weights; random_tokenizer.py, what it is read with
limits.py            what a worker is made for, and the memory that takes
step.py              the rows of a step
runner.py            a step: metadata, model, choice of tokens; trial.py, two steps before the first one
hybrid.py            the model: transformers' own modules, and two kinds of layers over pools
gdn_layer.py         Gated DeltaNet by the step's tables, and tables.py, which has these for torch
attention.py         attention over blocks; blocks.py, the same in a kernel for captured graphs
kernels.py           the kernels of gdn_layer.py on a GPU and on a CPU; recurrent.py, those in Triton
graphs.py            captured graphs by bucket, and inputs.py, what a step brings to them; capture.py makes one
ranks.py             a model on several GPUs; shared_channel.py, the engine's steps for all of them
sampler.py           the choice of a token"""

import torch
from gdnlayer import ops

if torch.cuda.is_available():
    ops.fixed_launches()  # before transformers is imported, which imports flash-linear-attention
