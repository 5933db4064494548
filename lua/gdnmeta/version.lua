-- The library's version: the only place that has it.
return "0.2.0"
