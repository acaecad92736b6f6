"""One empty line of a package: the tests share builders."""
