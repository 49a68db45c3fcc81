/*
 * load HOST:PORT FOLDER [options]: posts the pictures of a folder, in turn, over kept-alive connections of one epoll
 * loop.
 *
 * Closed loop: every connection sends its next picture when it has its answer; that finds the highest rate. Open loop
 * (--rate): pictures arrive at random times (Poisson) whether answers have come or not, as users do, and latency counts
 * from the time of arrival: a picture that waits for a free connection waits in the figure ("coordinated omission" is
 * what hides that). Answers of status 200, 429 and others are counted apart. --pid: the server's processor time and
 * memory too, because on one machine client and server share its cores. Loopback only: this is no tool against others.
 */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "util/clock.h"

#define MAX_CONNECTIONS 4096
#define MAX_ANSWER 65536
#define EVENTS 256

enum { ACCEPTED, REFUSED, OTHER, N_KINDS };
static const char *const kind_names[N_KINDS] = {"200", "429", "other"};

/* What is sent for one picture: the whole request. */
struct picture {
    char *bytes;
    size_t size;
};

struct samples {
    double *ms;
    size_t n, capacity;
};

struct connection {
    int fd; /* -1: to be opened again */
    bool busy;
    double due_us; /* when the picture that is under way arrived, or was sent in a closed loop */
    const struct picture *picture;
    size_t n_sent, n_read;
    char answer[MAX_ANSWER];
};

static struct options {
    struct sockaddr_in server;
    const char *folder, *path, *content_type, *where;
    double rate, seconds, warmup, timeout_s;
    int n_connections, pid;
    unsigned seed;
    bool json;
} options = {.path = "/infer",
             .content_type = "image/jpeg",
             .seconds = 10,
             .warmup = 1,
             .timeout_s = 60,
             .n_connections = 16,
             .seed = 1};

static struct picture *pictures;
static size_t n_pictures, next_picture;
static struct connection *connections;
static struct samples samples[N_KINDS];
static long n_broken, n_timeouts, n_sent_late;
static int epoll_fd, timer_fd;
static double measured_from_us, end_us;

/* Arrivals that no connection was free for, a ring. */
static double *waiting;
static size_t waiting_first, n_waiting, waiting_capacity;

static void die(const char *what)
{
    fprintf(stderr, "load: %s\n", what);
    exit(2);
}

static void *grow(void *array, size_t n, size_t size)
{
    array = realloc(array, n * size);
    if (!array)
        die("no memory");
    return array;
}

static double now_us(void)
{
    return (double)qd_now_ns() / 1e3;
}

static void add_picture(const char *path)
{
    char header[512];
    struct stat info;
    FILE *file = fopen(path, "rb");
    struct picture picture;
    int length;

    if (!file || fstat(fileno(file), &info) < 0)
        die(path);
    length = snprintf(header, sizeof(header),
                      "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: %s\r\nContent-Length: %lld\r\n\r\n", options.path,
                      options.where, options.content_type, (long long)info.st_size);
    picture.size = (size_t)length + (size_t)info.st_size;
    picture.bytes = grow(NULL, picture.size, 1);
    memcpy(picture.bytes, header, (size_t)length);
    if (fread(picture.bytes + length, 1, (size_t)info.st_size, file) != (size_t)info.st_size)
        die(path);
    fclose(file);
    pictures = grow(pictures, n_pictures + 1, sizeof(*pictures));
    pictures[n_pictures++] = picture;
}

static int is_picture(const struct dirent *entry)
{
    const char *dot = strrchr(entry->d_name, '.');

    return dot && (!strcasecmp(dot, ".jpg") || !strcasecmp(dot, ".jpeg"));
}

static void read_pictures(void)
{
    struct dirent **entries;
    char path[4096];
    int n = scandir(options.folder, &entries, is_picture, alphasort);

    if (n < 1)
        die("no *.jpg or *.jpeg in the folder");
    for (int i = 0; i < n; i++) {
        snprintf(path, sizeof(path), "%s/%s", options.folder, entries[i]->d_name);
        add_picture(path);
        free(entries[i]);
    }
    free(entries);
}

static void open_connection(struct connection *c)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
    int on = 1;

    c->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)(void *)&options.server, sizeof(options.server)) < 0)
        die("cannot connect to the server");
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    fcntl(c->fd, F_SETFL, O_NONBLOCK);
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, c->fd, &event);
}

static void close_connection(struct connection *c)
{
    close(c->fd);
    c->fd = -1;
    c->busy = false;
}

static void watch(struct connection *c, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = c};

    epoll_ctl(epoll_fd, EPOLL_CTL_MOD, c->fd, &event);
}

/* What the socket takes now; the rest when it can take more. */
static void send_more(struct connection *c)
{
    while (c->n_sent < c->picture->size) {
        ssize_t n = send(c->fd, c->picture->bytes + c->n_sent, c->picture->size - c->n_sent, MSG_NOSIGNAL);

        if (n < 0 && errno == EAGAIN) {
            watch(c, EPOLLIN | EPOLLOUT);
            return;
        }
        if (n < 0)
            return; /* reading says what happened */
        if (c->n_sent && c->n_sent + (size_t)n == c->picture->size)
            watch(c, EPOLLIN);
        c->n_sent += (size_t)n;
    }
}

static void start_request(struct connection *c, double due_us)
{
    if (c->fd < 0)
        open_connection(c);
    c->busy = true;
    c->due_us = due_us;
    c->picture = &pictures[next_picture++ % n_pictures];
    c->n_sent = c->n_read = 0;
    send_more(c);
}

static void record(const struct connection *c, int status)
{
    struct samples *s = &samples[status == 200 ? ACCEPTED : status == 429 ? REFUSED : OTHER];
    double now = now_us(), at = options.rate > 0 ? c->due_us : now;

    if (at < measured_from_us || at > end_us)
        return;
    if (s->n == s->capacity) {
        s->capacity = s->capacity ? s->capacity * 2 : 4096;
        s->ms = grow(s->ms, s->capacity, sizeof(*s->ms));
    }
    s->ms[s->n++] = (now - c->due_us) / 1e3;
}

/* The status once the whole answer is there, 0 before, -1 for what is not HTTP. */
static int parse_answer(struct connection *c, bool *ret_closes)
{
    const char *end, *line;
    size_t length = 0;
    int status;

    c->answer[c->n_read] = 0;
    end = strstr(c->answer, "\r\n\r\n");
    if (!end)
        return c->n_read < MAX_ANSWER - 1 ? 0 : -1;
    if (sscanf(c->answer, "HTTP/1.1 %d", &status) != 1)
        return -1;
    *ret_closes = false;
    for (line = strstr(c->answer, "\r\n") + 2; line < end; line = strstr(line, "\r\n") + 2) {
        if (!strncasecmp(line, "Content-Length:", 15))
            length = strtoul(line + 15, NULL, 10);
        if (!strncasecmp(line, "Connection: close", 17))
            *ret_closes = true;
    }
    length += (size_t)(end + 4 - c->answer);
    return length > MAX_ANSWER - 1 ? -1 : c->n_read >= length ? status : 0;
}

/* A connection is free: what waits longest goes out, or the next picture of a closed loop. */
static void go_on(struct connection *c)
{
    double due = now_us();

    if (due >= end_us)
        return;
    if (options.rate > 0) {
        if (!n_waiting)
            return;
        due = waiting[waiting_first];
        waiting_first = (waiting_first + 1) % waiting_capacity;
        n_waiting--;
        n_sent_late++;
    }
    start_request(c, due);
}

static void receive(struct connection *c)
{
    ssize_t n = recv(c->fd, c->answer + c->n_read, MAX_ANSWER - 1 - c->n_read, 0);
    bool was_busy = c->busy, closes = true;
    int status;

    if (n < 0 && errno == EAGAIN)
        return;
    if (n > 0)
        c->n_read += (size_t)n;
    status = n > 0 ? parse_answer(c, &closes) : -1;
    if (!status)
        return;
    if (status > 0)
        record(c, status);
    else if (was_busy)
        n_broken++; /* an idle connection may be closed by the server */
    c->busy = false;
    if (closes)
        close_connection(c);
    if (status > 0 || was_busy)
        go_on(c);
}

static void add_arrival(double due_us)
{
    for (int i = 0; i < options.n_connections; i++)
        if (!connections[i].busy) {
            start_request(&connections[i], due_us);
            return;
        }
    if (n_waiting == waiting_capacity)
        die("more pictures wait for a connection than can be counted: use more --connections");
    waiting[(waiting_first + n_waiting++) % waiting_capacity] = due_us;
}

static double exponential(double mean)
{
    return -log(1 - (double)rand_r(&options.seed) / ((double)RAND_MAX + 1)) * mean;
}

static void arm(double at_us)
{
    int64_t ns = (int64_t)(at_us * 1e3);
    struct itimerspec t = {.it_value = {ns / 1000000000, ns % 1000000000}};

    timerfd_settime(timer_fd, TFD_TIMER_ABSTIME, &t, NULL);
}

static int n_busy(void)
{
    int n = 0;

    for (int i = 0; i < options.n_connections; i++)
        n += connections[i].busy;
    return n;
}

static void handle_event(const struct epoll_event *event)
{
    struct connection *c = event->data.ptr;
    uint64_t ignored;

    if (!c) {
        if (read(timer_fd, &ignored, sizeof(ignored)) < 0)
            return;
    } else if (c->fd >= 0) {
        if (event->events & EPOLLOUT && c->busy)
            send_more(c);
        if (event->events & (EPOLLIN | EPOLLHUP | EPOLLERR))
            receive(c);
    }
}

/* Until the end, and then until every answer is there or late. */
static void run(void)
{
    double next_us = now_us() + (options.rate > 0 ? exponential(1e6 / options.rate) : INFINITY), now;
    struct epoll_event events[EVENTS];

    if (options.rate <= 0)
        for (int i = 0; i < options.n_connections; i++)
            go_on(&connections[i]);
    while ((now = now_us()) < end_us || n_busy()) {
        int n;

        if (now > end_us + options.timeout_s * 1e6) {
            n_timeouts = n_busy();
            return;
        }
        for (; next_us <= now && next_us < end_us; next_us += exponential(1e6 / options.rate))
            add_arrival(next_us);
        arm(next_us < end_us ? next_us : now + 50000);
        n = epoll_wait(epoll_fd, events, EVENTS, -1);
        for (int i = 0; i < n; i++)
            handle_event(&events[i]);
    }
}

/* Processor seconds and resident bytes of the server. */
static void read_server(double *ret_cpu_s, double *ret_rss_mb)
{
    char path[64], text[1024], *at;
    unsigned long user = 0, system = 0;
    long pages = 0;
    FILE *file;

    *ret_cpu_s = *ret_rss_mb = NAN;
    snprintf(path, sizeof(path), "/proc/%d/stat", options.pid);
    file = options.pid ? fopen(path, "r") : NULL;
    if (!file)
        return;
    at = fgets(text, sizeof(text), file) ? strrchr(text, ')') : NULL;
    fclose(file);
    if (!at || sscanf(at, ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu %*d %*d %*d %*d %*d %*d %*u %*u %ld",
                      &user, &system, &pages) != 3)
        return;
    *ret_cpu_s = (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
    *ret_rss_mb = (double)pages * (double)sysconf(_SC_PAGESIZE) / 1e6;
}

static double own_cpu_s(void)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

static double quantile(const struct samples *s, double q)
{
    return s->n ? s->ms[(size_t)fmin((double)s->n - 1, q * (double)s->n)] : 0;
}

static void print_kind(int kind)
{
    struct samples *s = &samples[kind];
    double q[4];

    if (s->n)
        qsort(s->ms, s->n, sizeof(*s->ms), by_value);
    for (int i = 0; i < 4; i++)
        q[i] = quantile(s, (const double[]){0.5, 0.9, 0.99, 1}[i]);
    if (options.json)
        printf("\"%s\": {\"count\": %zu, \"per_second\": %.2f, \"ms\": {\"p50\": %.3f, \"p90\": %.3f, \"p99\": %.3f, "
               "\"max\": %.3f}}, ",
               kind_names[kind], s->n, (double)s->n / options.seconds, q[0], q[1], q[2], q[3]);
    else if (s->n)
        printf("  %-5s %8zu  %9.1f per s  p50 %8.2f  p90 %8.2f  p99 %8.2f  max %8.2f ms\n", kind_names[kind], s->n,
               (double)s->n / options.seconds, q[0], q[1], q[2], q[3]);
}

/* The server's figures, null where --pid is not given. */
static const char *number(double x, char text[32])
{
    snprintf(text, 32, isnan(x) ? "null" : "%.4f", x);
    return text;
}

static void report(double server_cpu_s, double client_cpu_s, double rss_before, double rss_after)
{
    char a[32], b[32], c[32];

    if (options.json)
        printf("{");
    else
        printf("%s %s, %d connections, %s loop%s\n", options.where, options.path, options.n_connections,
               options.rate > 0 ? "open" : "closed", options.rate > 0 ? " (latency from the time of arrival)" : "");
    for (int i = 0; i < N_KINDS; i++)
        print_kind(i);
    if (options.json)
        printf("\"connections\": %d, \"rate\": %.2f, \"seconds\": %.2f, \"broken\": %ld, \"timeouts\": %ld, "
               "\"waited_for_connection\": %ld, \"unsent\": %zu, \"client_cpu_s\": %.4f, \"server_cpu_s\": %s, "
               "\"server_rss_mb\": "
               "{\"before\": %s, \"after\": %s}}\n",
               options.n_connections, options.rate, options.seconds, n_broken, n_timeouts, n_sent_late, n_waiting,
               client_cpu_s, number(server_cpu_s, a), number(rss_before, b), number(rss_after, c));
    else
        printf("  broken %ld, timeouts %ld, waited for a connection %ld, unsent %zu\n"
               "  cpu: client %.2f s, server %s s; server memory %s to %s MB\n",
               n_broken, n_timeouts, n_sent_late, n_waiting, client_cpu_s, number(server_cpu_s, a),
               number(rss_before, b), number(rss_after, c));
}

static void parse_where(const char *where)
{
    char host[64];
    int port;

    options.where = where;
    if (sscanf(where, "%63[^:]:%d", host, &port) != 2)
        die("expected HOST:PORT");
    options.server = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    if (inet_pton(AF_INET, host, &options.server.sin_addr) != 1 || ntohl(options.server.sin_addr.s_addr) >> 24 != 127)
        die("expected an address of the loopback interface, as 127.0.0.1:8100");
}

static void parse(int argc, char **argv)
{
    const struct {
        const char *name;
        double *real;
        int *integer;
        const char **text;
    } flags[] = {
        {"--connections", NULL, &options.n_connections, NULL}, {"--rate", &options.rate, NULL, NULL},
        {"--seconds", &options.seconds, NULL, NULL},           {"--warmup", &options.warmup, NULL, NULL},
        {"--timeout", &options.timeout_s, NULL, NULL},         {"--path", NULL, NULL, &options.path},
        {"--type", NULL, NULL, &options.content_type},         {"--pid", NULL, &options.pid, NULL},
        {"--seed", NULL, (int *)&options.seed, NULL},
    };
    int n_positional = 0;

    for (int i = 1; i < argc; i++) {
        size_t f = 0;

        while (f < sizeof(flags) / sizeof(flags[0]) && strcmp(argv[i], flags[f].name) != 0)
            f++;
        if (strcmp(argv[i], "--json") == 0)
            options.json = true;
        else if (argv[i][0] != '-' && n_positional++ < 2)
            n_positional == 1 ? parse_where(argv[i]) : (void)(options.folder = argv[i]);
        else if (f == sizeof(flags) / sizeof(flags[0]) || i + 1 == argc)
            die("usage: load HOST:PORT FOLDER [--connections N] [--rate PER-SECOND] [--seconds S] [--warmup S] "
                "[--timeout S] "
                "[--path /infer] [--type image/jpeg] [--pid SERVER] [--seed N] [--json]");
        else if (flags[f].real)
            *flags[f].real = atof(argv[++i]);
        else if (flags[f].integer)
            *flags[f].integer = atoi(argv[++i]);
        else
            *flags[f].text = argv[++i];
    }
    if (n_positional < 2)
        die("expected HOST:PORT and a folder of pictures");
    if (options.n_connections < 1 || options.n_connections > MAX_CONNECTIONS || options.seconds <= 0)
        die("expected 1 to 4096 connections and more than 0 seconds");
}

int main(int argc, char **argv)
{
    double server_before, server_after, client_before, rss_before, rss_after;
    struct epoll_event event = {.events = EPOLLIN};

    parse(argc, argv);
    read_pictures();
    epoll_fd = epoll_create1(0);
    timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, timer_fd, &event);
    connections = grow(NULL, (size_t)options.n_connections, sizeof(*connections));
    for (int i = 0; i < options.n_connections; i++) {
        connections[i].fd = -1;
        connections[i].busy = false;
        open_connection(&connections[i]);
    }
    waiting_capacity = (size_t)(options.rate * (options.warmup + options.seconds) * 2) + 1024;
    waiting = grow(NULL, waiting_capacity, sizeof(*waiting));

    /* A run of its own to warm up, so that the processor times are of what is measured. */
    measured_from_us = INFINITY;
    end_us = now_us() + options.warmup * 1e6;
    if (options.warmup > 0)
        run();
    n_broken = n_timeouts = n_sent_late = 0;
    n_waiting = 0;
    read_server(&server_before, &rss_before);
    client_before = own_cpu_s();
    measured_from_us = now_us();
    end_us = measured_from_us + options.seconds * 1e6;
    run();
    read_server(&server_after, &rss_after);
    report(server_after - server_before, own_cpu_s() - client_before, rss_before, rss_after);
    return n_broken || n_timeouts || samples[OTHER].n ? 1 : 0;
}
