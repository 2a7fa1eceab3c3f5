"""How fast the generated service is beside what people pick instead; run `make bench`."""
