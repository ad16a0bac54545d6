//! nearfab-python.
