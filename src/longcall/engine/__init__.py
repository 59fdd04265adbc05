"""The program: what happens to a task, in terms of the ports."""
