"""What of the pages is made from the code: a module for each block."""
