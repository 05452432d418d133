//! The service-port allocator (Marathon's `GroupManager.assignDynamicServicePorts`).
