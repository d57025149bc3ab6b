"""Message classes of Cogment Lab, made by protoc."""
