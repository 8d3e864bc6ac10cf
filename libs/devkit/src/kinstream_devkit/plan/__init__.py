"""`kinstream plan`: what a day's events come to in backlog, tasks and dollars.

`domain/` simulates and is pure; `files` reads what it reckons with, `words` and `picture` tell the outcome.
"""
