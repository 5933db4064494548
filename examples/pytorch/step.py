"""A step's metadata as PyTorch tensors, without a copy: on the CPU, and on a GPU where there is one.
    python3 examples/pytorch/step.py"""
import torch

from gdnmeta import Builder

NAMES = ("non_spec_state_indices_tensor", "non_spec_query_start_loc", "has_initial_state", "chunk_offsets")


def run(device, ordinal):
    stream = torch.cuda.current_stream().cuda_stream if ordinal >= 0 else None
    builder = Builder(device=ordinal, max_num_seqs=8, max_num_batched_tokens=1024)
    builder.add(query_len=1, seq_len=2001, block=7, prompt_done=True)
    builder.add(query_len=130, seq_len=130, block=3, prompt_done=False)
    meta = builder.build(stream)
    print(f"{device}: {meta.num_decodes} decode, {meta.num_prefills} prefill")
    for name in NAMES:
        tensor = torch.from_dlpack(builder.tensor(name))
        assert tensor.device.type == device and tensor.data_ptr() == getattr(meta, name).data
        print(f"  {name} {tensor.dtype} {tensor.tolist()}")

    # The same memory, step after step, and for as long as a tensor is kept.
    slots = torch.from_dlpack(builder.tensor("non_spec_state_indices_tensor"))
    builder.add(query_len=1, seq_len=2002, block=7, prompt_done=True)
    builder.add(query_len=20, seq_len=150, block=5, prompt_done=False)
    builder.build(stream)
    builder.close()
    print(f"  a step later {slots.tolist()}")


run("cpu", -1)
if torch.cuda.is_available():
    run("cuda", torch.cuda.current_device())
