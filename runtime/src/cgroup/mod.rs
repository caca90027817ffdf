//! Control groups: where a container's processes are counted, limited, frozen
//! and found.

mod device_filter;
mod devices;
mod dir;
mod layout;
mod limits;
mod paths;
