"""What the package asks of the operating system: processes, signals, forks, CPU cores, sockets and text files."""
