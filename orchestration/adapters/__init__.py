"""The edges: git, model services, sandboxes, the queue, the socket. They take and return domain values,
never rows, and turn every failure into one typed error."""
