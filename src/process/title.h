/* title.h: what ps(1) shows as the command line of a process: the memory where the kernel has put the arguments and the
 * environment is written over, as setproctitle(3) of the BSDs does. */
#ifndef PROCESS_TITLE_H
#define PROCESS_TITLE_H

/* First of all in main. */
void title_init(int argc, char **argv);
/* Nobody may use the arguments any more; the environment is copied first. Cut to what there is room for. In a process
 * whose main has not called title_init it does nothing. */
void title_set(const char *text);

#endif
