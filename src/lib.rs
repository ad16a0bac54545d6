//! nearfab.
