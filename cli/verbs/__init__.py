"""One module a verb, named as it is typed: its options, what it asks a room for, what it prints."""
