"""Other people's libraries, each driven by a script of its own in an environment of its own."""
