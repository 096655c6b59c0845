//! Nothing but tests: the real component in the real host against the simulated site. They are a package of their own,
//! so that the connector's tests need no wasmtime.
