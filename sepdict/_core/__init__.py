"""What all packages stand on and no user needs: devices, files, worker processes, checks of settings."""
