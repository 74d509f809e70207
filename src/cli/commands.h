/* The commands of `baton`, in the order of `baton --help`. Each is defined in the file of its name as command_NAME. */
COMMAND(status)
COMMAND(watch)
COMMAND(history)
COMMAND(transfer)
COMMAND(hold)
COMMAND(release)
COMMAND(version)
COMMAND(help)
