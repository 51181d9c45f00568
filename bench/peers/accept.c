/* The simplest server that greets: accept, send, close. What it costs is what the kernel costs.
 * accept PORT FILE: listens on 127.0.0.1 and sends the first 16 KiB of a file. */
#include <arpa/inet.h>
#include <err.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

int main(int argc, char **argv) {
  static char greeting[16384];
  FILE *file = argc == 3 ? fopen(argv[2], "r") : NULL;
  size_t length = file ? fread(greeting, 1, sizeof greeting, file) : 0;
  int on = 1, listener = socket(AF_INET, SOCK_STREAM, 0);
  struct sockaddr_in addr = {.sin_family = AF_INET, .sin_port = htons(length ? atoi(argv[1]) : 0)};
  addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (bind(listener, (struct sockaddr *)&addr, sizeof addr) || listen(listener, 4096)) err(1, "listen");
  for (;;) {
    int conn = accept(listener, NULL, NULL);
    if (conn < 0) continue;
    send(conn, greeting, length, MSG_NOSIGNAL);
    close(conn);
  }
}
