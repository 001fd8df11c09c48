"""Knowledge by hand: what people wrote down, and what follows from it."""
