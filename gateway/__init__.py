"""HTTP and WebSocket. Starlette lives only here."""
