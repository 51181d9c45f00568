/* The benchmark's clients: one process with an epoll loop.
 *
 *     load PORTS FILE load CONCURRENCY SECONDS   keep CONCURRENCY connections open: when one ends, the next one starts
 *     load PORTS FILE reset CONCURRENCY SECONDS  the same, but reset each connection as soon as it is established
 *     load PORTS FILE burst CLIENTS              connect all clients at once
 *     load PORTS FILE talkative CLIENTS          send data twice, then read, with a small receive buffer
 *
 * PORTS is a port or FIRST-LAST, used in turn. FILE has the expected greeting. The result is one line of JSON: how many
 * clients received exactly the greeting and then end of stream, how many did not, the time from connect() to end of
 * stream in milliseconds, and the CPU time of this process in seconds. Clients that still wait PATIENCE_MS after SECONDS
 * have failed. */
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { PATIENCE_MS = 5000, TALK_PAUSE_MS = 50, TALK_BUFFER_BYTES = 2048, MAX_EVENTS = 256, MAX_WAITS = 1 << 22 };

struct client {
  int fd, differs;
  double started;
  size_t received;
};

static int first_port, last_port, next_port, epoll_fd, open_clients, is_talkative;
static char greeting[16384], buffer[65536];
static size_t greeting_length, whole, failed;
static double waits[MAX_WAITS];

static double now_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1e3 + t.tv_nsec / 1e6;
}

/* Starts connecting. Returns 0 if the connection failed at once: the server is gone. */
static int start(struct client *client) {
  struct sockaddr_in server = {.sin_family = AF_INET, .sin_port = htons(next_port)};
  server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  next_port = next_port == last_port ? first_port : next_port + 1;
  *client = (struct client){.fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), .started = now_ms()};
  if (client->fd < 0) err(2, "socket");
  int size = TALK_BUFFER_BYTES; /* less than the greeting: the server still has a part of it when it closes */
  if (is_talkative) setsockopt(client->fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
  if (connect(client->fd, (struct sockaddr *)&server, sizeof server) && errno != EINPROGRESS) {
    close(client->fd);
    client->fd = -1;
    failed++;
    return 0;
  }
  struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = client};
  if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, client->fd, &event)) err(2, "epoll_ctl");
  open_clients++;
  return 1;
}

static void finish(struct client *client) {
  close(client->fd);
  client->fd = -1;
  open_clients--;
}

/* Reads what is there. Returns 1 when the connection has ended and has been counted. */
static int read_greeting(struct client *client) {
  for (;;) {
    ssize_t n = recv(client->fd, buffer, sizeof buffer, 0);
    if (n < 0 && errno == EAGAIN) return 0;
    if (n > 0) {
      size_t end = client->received + n;
      if (end > greeting_length || memcmp(buffer, greeting + client->received, n)) client->differs = 1;
      client->received = end;
      continue;
    }
    if (n < 0 || client->differs || client->received != greeting_length) failed++;
    else if (whole == MAX_WAITS) errx(2, "more than %d clients", MAX_WAITS);
    else waits[whole++] = now_ms() - client->started;
    finish(client);
    return 1;
  }
}

/* Resets connections, or reads their greetings. Until a time, a client that is done is replaced by a new one. */
static void serve(double until, int is_reset) {
  struct epoll_event events[MAX_EVENTS];
  struct linger abort_on_close = {.l_onoff = 1};
  int alive = 1;
  while (open_clients > 0 && now_ms() < until + PATIENCE_MS) {
    int n = epoll_wait(epoll_fd, events, MAX_EVENTS, (int)(until + PATIENCE_MS - now_ms()) + 1);
    if (n < 0 && errno != EINTR) err(2, "epoll_wait");
    for (int i = 0; i < n; i++) {
      struct client *client = events[i].data.ptr;
      if (client->fd < 0) continue;
      if (is_reset) {
        setsockopt(client->fd, SOL_SOCKET, SO_LINGER, &abort_on_close, sizeof abort_on_close);
        finish(client);
      } else if (!read_greeting(client)) continue;
      if (alive && now_ms() < until) alive = start(client);
    }
  }
  failed += open_clients;
}

static void say_to_all(struct client *clients, int count, const char *text) {
  for (int i = 0; i < count; i++) {
    if (clients[i].fd >= 0) send(clients[i].fd, text, strlen(text), MSG_NOSIGNAL);
  }
  poll(NULL, 0, TALK_PAUSE_MS);
}

static int ascending(const void *a, const void *b) {
  double difference = *(const double *)a - *(const double *)b;
  return (difference > 0) - (difference < 0);
}

static double percentile(double share) { return whole == 0 ? 0 : waits[(size_t)((whole - 1) * share)]; }

int main(int argc, char **argv) {
  if (argc < 5) errx(2, "usage: load PORTS FILE load|burst|talkative|reset NUMBER [SECONDS]");
  const char *mode = argv[3];
  int count = atoi(argv[4]);
  next_port = first_port = last_port = atoi(argv[1]);
  sscanf(argv[1], "%*d-%d", &last_port);
  FILE *file = fopen(argv[2], "r");
  if (!file) err(2, "%s", argv[2]);
  greeting_length = fread(greeting, 1, sizeof greeting, file);
  struct client *clients = calloc(count, sizeof *clients);
  epoll_fd = epoll_create1(0);
  if (!clients || epoll_fd < 0) err(2, "start");
  double started = now_ms();
  is_talkative = !strcmp(mode, "talkative");
  for (int i = 0; i < count; i++) start(&clients[i]);
  if (is_talkative) {
    say_to_all(clients, count, "GET / HTTP/1.0\r\n");
    say_to_all(clients, count, "\r\n");
  }
  serve(started + (argc > 5 ? atof(argv[5]) * 1e3 : 0), !strcmp(mode, "reset"));
  qsort(waits, whole, sizeof *waits, ascending);
  printf("{\"whole\":%zu,\"failed\":%zu,\"seconds\":%.4f,\"p50\":%.3f,\"p99\":%.3f,\"max\":%.3f,\"cpu\":%.4f}\n",
         whole, failed, (now_ms() - started) / 1e3, percentile(0.5), percentile(0.99), percentile(1),
         clock() / (double)CLOCKS_PER_SEC);
}
