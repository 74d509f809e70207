/* raise.c: as a set-uid program: take its owner's privileges for good, as sudo(8) does, and run a command. */
#include <stdio.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    if (argc < 2 || setgid(0) < 0 || setuid(0) < 0) {
        perror("raise");
        return 77;
    }
    execvp(argv[1], argv + 1);
    return 1;
}
