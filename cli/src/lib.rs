//! nearfab-cli.
