"""ClickHouse's HTTP interface in front of the engine of the `chdb` wheel.

One process may hold the engine, but workers, gateway and analysts all need it; so a process of
its own holds it and speaks what a ClickHouse server speaks. Any HTTP client of ClickHouse works
against it as against a server; `README.md` in `compose/` lists what is left out.
"""
