"""What stands between strangers and the routes: connections, keys, bodies, turns."""
