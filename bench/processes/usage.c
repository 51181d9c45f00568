/* usage FILE COMMAND [ARGUMENT]...: runs a command, and writes what it has used to FILE as one line of JSON: the time
 * from start to exit and the processor time, in seconds, and the peak of its resident memory, in bytes. */
#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double seconds_of(struct timeval time) { return time.tv_sec + time.tv_usec / 1e6; }

int main(int argc, char **argv) {
  if (argc < 3) errx(2, "usage: usage FILE COMMAND [ARGUMENT]...");
  struct timespec started, ended;
  clock_gettime(CLOCK_MONOTONIC, &started);
  pid_t pid = fork();
  if (pid < 0) err(2, "fork");
  if (pid == 0) {
    execvp(argv[2], argv + 2);
    err(127, "%s", argv[2]);
  }
  int status;
  struct rusage used;
  if (wait4(pid, &status, 0, &used) < 0) err(2, "wait4");
  clock_gettime(CLOCK_MONOTONIC, &ended);
  FILE *file = fopen(argv[1], "w");
  if (!file) err(2, "%s", argv[1]);
  fprintf(file, "{\"seconds\":%.4f,\"cpu\":%.4f,\"memory\":%lld}\n",
          ended.tv_sec - started.tv_sec + (ended.tv_nsec - started.tv_nsec) / 1e9,
          seconds_of(used.ru_utime) + seconds_of(used.ru_stime), used.ru_maxrss * 1024LL);
  fclose(file);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
