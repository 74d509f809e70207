/* The commands of `baton`, in the order of `baton --help`. Each is defined in the file of its name as command_NAME. */
COMMAND(version)
COMMAND(help)
