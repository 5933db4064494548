"""A step's metadata as PyTorch tensors, without a copy: on the CPU, and on a GPU where there is one.
    python3 examples/pytorch/step.py"""
import numpy as np
import torch

from gdnmeta import Builder

NAMES = ("non_spec_state_indices_tensor", "non_spec_query_start_loc", "has_initial_state", "chunk_offsets")


def run(device, ordinal):
    stream = torch.cuda.current_stream() if ordinal >= 0 else None
    builder = Builder(device=ordinal, max_num_seqs=8, max_num_batched_tokens=1024)
    batch = builder.batch()
    # A decode and a prompt, each with its state in one block.
    batch.set(query_len=[1, 130], seq_len=[2001, 130], prompt_done=np.array([True, False]), blocks=[[7], [3]])
    meta = builder.build(batch, stream)
    print(f"{device}: {meta.num_decodes} decode, {meta.num_prefills} prefill")
    for name in NAMES:
        tensor = torch.from_dlpack(getattr(meta, name))
        assert tensor.device.type == device and tensor.data_ptr() == getattr(meta, name).data
        print(f"  {name} {tensor.dtype} {tensor.tolist()}")

    # The same memory, step after step, and for as long as a tensor is kept.
    slots = torch.from_dlpack(meta.non_spec_state_indices_tensor)
    batch.set(query_len=[1, 20], seq_len=[2002, 150], prompt_done=np.array([True, False]), blocks=[[7], [5]])
    builder.build(batch, stream)
    builder.close()
    print(f"  a step later {slots.tolist()}")


run("cpu", -1)
if torch.cuda.is_available():
    run("cuda", torch.cuda.current_device())
