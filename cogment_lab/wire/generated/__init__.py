"""Message classes of Cogment's API, made by protoc."""
