//! Stories of one namespace and its log.
