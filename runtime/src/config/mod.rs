pub(crate) mod resources;
