"""The services that run on servers, a module each: a function from a `HostSpecification` to `Service` values, which reads nothing."""
