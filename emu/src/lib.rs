//! nearfab-emu.
