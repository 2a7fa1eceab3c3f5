"""How fast the library and a service of it are beside what people pick; run `make bench`."""
