"""Makes a server what its `HostConfiguration` says: over SSH with pyinfra, service by service, each as a transaction."""
