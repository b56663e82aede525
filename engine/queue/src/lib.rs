//! Jobs that survive: the durable queue, its store and its history.
