"""What check.py is made of.

requests.py   random requests, some of which share prefixes or are forks
engine.py     the Lua engine that schedules them, in a process of its own
alone.py      each request by itself: by transformers, and by the model alone
cases.py      kinds of schedules
compare.py    how far a schedule's answers are from those"""
