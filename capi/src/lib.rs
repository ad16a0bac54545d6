//! nearfab-capi.
