"""Updates: what is downloaded, checked, installed, watched and, if need be, undone."""
