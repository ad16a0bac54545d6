//! nearfab-sys.
