//! nearfab-dra.
