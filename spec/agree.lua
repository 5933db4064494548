-- The CPU and a CUDA device on random steps, from the command line.
--   luajit spec/agree.lua [--device fake|cuda] [--cases N] [--seed N] [--each 0|1]
-- --each 1 reads every tensor on its own, and so nothing but what a build wrote.
local root = arg[0]:match "^(.-)[^/]*$" .. "../"
package.path = root .. "?.lua;" .. package.path

local options = require "spec.support.options".read("spec/agree.lua",
  "[--device fake|cuda] [--cases N] [--seed N] [--each 0|1]",
  { device = "fake", cases = 50000, seed = os.time(), each = 0 })

local driver = require "spec.support.driver".open(options.device)
local run = require "spec.support.cpu_vs_cuda".run(driver, options)
driver:close()
local text = "agree: seed %d, %d cases: %d launches, %d skipped, %d through the ring, %d refused, "
  .. "%d wrong on the device alone"
print(text:format(options.seed, options.cases, run.launches, run.skipped, run.ring, run.refused, run.unseen))
