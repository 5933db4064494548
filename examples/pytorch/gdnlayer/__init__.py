"""A Gated DeltaNet layer in unmodified third-party kernels, run by the tables of gdnmeta: see ../kernels.py.

sizes.py     sizes of a layer
ops.py       the kernels: those of flash-linear-attention, or naive.py's, which say the same in plain torch
tables.py    a bucket's tensors, as torch has them
layer.py     the layer: a speculative, a decode and a prefill branch
pools.py     where states and windows are kept between steps
schedule.py  random requests, and the steps that serve them
alone.py     every request by itself in float32, to compare with
runner.py    a schedule's steps through the layer: launched one by one, or as captured graphs
compare.py   how far outputs are from those of the requests alone
bench.py     36 layers of one step, eagerly and as one graph"""
